"""What letsbe.spec does to the collection that PyInstaller's analysis gives."""

from __future__ import annotations

import encodings
import json
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

from PyInstaller.archive.writers import ZlibArchiveWriter
from PyInstaller.building.build_main import Analysis
from PyInstaller.building.utils import compile_pymodule, process_collected_binary
from PyInstaller.depend.bindepend import get_imports, get_python_library_path

Entry = tuple[str, str, str]  # name in the archive, file on this machine, PyInstaller's word for the kind

#: Every kind of entry is stored as it is.
STORED = dict.fromkeys(
    ("EXTENSION", "DATA", "BINARY", "EXECUTABLE", "PYSOURCE", "PYMODULE", "PYZ", "PKG", "SYMLINK"), False
)

#: Extension modules that PyInstaller's own bootstrap imports, where the interpreter has them not built in.
BOOTSTRAP_EXTENSIONS = {"_struct", "zlib"}

#: Left to the system, which must have them: PyInstaller's loader is linked with them. Packed, the second process would
#: find ours first, and end with the dynamic linker's message where the temporary directory is mounted noexec.
_OF_THE_SYSTEM = {"libz.so.1"}

#: The text encodings that the interpreter needs before it can read the archive of modules.
_EARLY_ENCODINGS = {"encodings", "encodings.aliases", "encodings.utf_8", "encodings.ascii", "encodings.latin_1"}


# Modules too are stored: inflating those of `letsbe echo` costs 2 ms.
ZlibArchiveWriter._COMPRESSION_LEVEL = 0


class Parts(NamedTuple):
    """The files of the bundle."""

    hot: list[Entry]  # unpacked at every start
    cold: list[Entry]  # unpacked when imported
    warm: list[Entry]  # the cold ones once more, as ordinary files of a onedir build


def agent_modules(root: str) -> list[str]:
    """Every module of letsbe but the orchestrator's: most are imported by name, which no analysis sees."""
    files = [file.relative_to(root).with_suffix("") for file in Path(root, "letsbe").rglob("*.py")]
    names = [".".join(file.parts).removesuffix(".__init__") for file in files]
    return sorted(name for name in names if not name.startswith("letsbe.orchestrator"))


def without_start_hooks(scripts: list[Entry]) -> list[Entry]:
    """The scripts without those that PyInstaller runs before ours."""
    return [entry for entry in scripts if not entry[0].startswith("pyi_rth_")]


def replace_ctypes_hook(dependencies: list[Entry], bundled: str, workpath: str) -> list[Entry]:
    """The bootstrap modules with an empty stand-in for the hook that imports ctypes."""
    name = "pyimod03_ctypes"
    assert name in [entry[0] for entry in dependencies], f"{name} is no longer part of PyInstaller's bootstrap"
    source = os.path.join(bundled, f"{name}.py")
    compiled = compile_pymodule(name, source, os.path.join(workpath, "bundled"), optimize=0)
    return [(entry, compiled if entry == name else file, kind) for entry, file, kind in dependencies]


def with_text_encodings(analysis: Analysis) -> list[Entry]:
    """The pure modules, and among them the hundred encodings that PyInstaller would have unpacked at every start.

    What stays in its ``base_library.zip`` is what the interpreter needs before it can read the archive of modules.
    """
    library = next(Path(file) for name, file, _ in analysis.datas if name == "base_library.zip")
    with zipfile.ZipFile(library) as packed:
        entries = {info.filename: packed.read(info) for info in packed.infolist()}
    late = [name for name in entries if name.startswith("encodings/") and module_name(name) not in _EARLY_ENCODINGS]
    with zipfile.ZipFile(library, "w") as packed:
        for name in entries.keys() - set(late):
            packed.writestr(zipfile.ZipInfo(name), entries[name])
    sources = Path(encodings.__file__).parent.parent
    analysis.pure += [(module_name(name), str(sources / name.removesuffix("c")), "PYMODULE") for name in late]
    return analysis.pure


def module_name(pyc: str) -> str:
    """``encodings/utf_8.pyc`` is ``encodings.utf_8``."""
    return pyc.removesuffix(".pyc").replace("/", ".").removesuffix(".__init__")


def partition(analysis: Analysis, hot_modules: set[str], workpath: str) -> Parts:
    """Divide the files into those that every start unpacks and those that wait for an import."""
    collected = [entry for entry in analysis.binaries if entry[0] not in _OF_THE_SYSTEM]
    files = [entry for entry in collected if entry[2] in {"BINARY", "EXTENSION"}]
    extensions = {extension_name(name): (name, file) for name, file, kind in files if kind == "EXTENSION"}
    libraries = {name: file for name, file, kind in files if kind == "BINARY"}
    missing = {name for name in hot_modules & extensions.keys() if not os.path.exists(extensions[name][1])}
    assert not missing, f"hot modules that are not there: {missing}"

    python = get_python_library_path()
    hot_files = [python, *(extensions[name][1] for name in hot_modules & extensions.keys())]
    needed_hot = {os.path.basename(python)}.union(*(linked(file, libraries) for file in hot_files))
    is_hot = {name for name, _, kind in files if name in needed_hot or extension_name(name) in hot_modules}

    index = {
        module: [*sorted(linked(file, libraries) - needed_hot), name]
        for module, (name, file) in extensions.items()
        if module not in hot_modules
    }
    waiting = [(name, file, kind) for name, file, kind in files if name not in is_hot]
    cold = [(name, process_collected_binary(file, name, use_strip=True), "PKG") for name, file, kind in waiting]
    data = [entry for entry in analysis.datas if entry[0] == "base_library.zip"]
    return Parts(
        hot=[entry for entry in files if entry[0] in is_hot] + data + [marker(workpath)],
        cold=[*cold, cold_index(index, workpath)],
        warm=waiting,
    )


def extension_name(file: str) -> str:
    """``python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so`` is ``_ssl``."""
    parts = Path(file).parts
    if "lib-dynload" in parts:
        parts = parts[parts.index("lib-dynload") + 1 :]
    return ".".join([*parts[:-1], parts[-1].partition(".")[0]])


def linked(file: str, libraries: dict[str, str]) -> set[str]:
    """The collected libraries that a shared object needs, directly or through another."""
    return {name for name, _ in get_imports(file) if name in libraries}


def marker(workpath: str) -> Entry:
    """The empty file that marks an unpack directory as letsbe's.

    Executable, since PyInstaller unpacks those first and in the order of their names.
    """
    file = Path(workpath, "marker")
    file.touch(mode=0o755)
    return (".letsbe", str(file), "DATA")


def cold_index(index: dict[str, list[str]], workpath: str) -> Entry:
    """Which files an import of a cold module unpacks."""
    file = Path(workpath, "cold-index")
    file.write_text("".join("\t".join([module, *files]) + "\n" for module, files in sorted(index.items())))
    return (file.name, str(file), "PKG")


#: What the first process says when it can't load the interpreter that it unpacked, and what it says here instead. The
#: usual reason is a temporary directory mounted noexec, and the loader's own text does not tell what to do about it.
_LOAD_FAILURE = b"Failed to load Python shared library '%s': %s\n\0"
_EXPLAINED = b"Cannot load (if noexec, set TMPDIR): %.0s%s\n\0"


def explain_noexec(program: str) -> None:
    """Put the remedy into the loader's message; both take the library's path and the linker's error."""
    content = Path(program).read_bytes()
    assert content.count(_LOAD_FAILURE) == 1, "PyInstaller words the failure to load the interpreter otherwise now"
    assert len(_EXPLAINED) <= len(_LOAD_FAILURE)
    with open(program, "r+b") as file:
        file.seek(content.index(_LOAD_FAILURE))
        file.write(_EXPLAINED.ljust(len(_LOAD_FAILURE), b"\0"))


def list_contents(entries: list[Entry], workpath: str) -> None:
    """Write contents.json, the source files of what was packed, which the list of components is made from."""
    sources = sorted({os.path.abspath(file) for _, file, _ in entries if file not in {"", "-"}})
    made_here = os.path.abspath(workpath)
    kept = [file for file in sources if not file.startswith(made_here)]
    Path(workpath, "contents.json").write_text(json.dumps(kept, indent=1))
