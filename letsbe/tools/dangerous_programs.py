"""Programs and environment variables by which one allowed command becomes another.

A program stands here when what it is given as ordinary arguments or on standard input can make it run something else,
or write anywhere: shells, interpreters, editors and pagers, programs that take a command line, archivers, copiers,
package managers, container clients. The list owes much to GTFOBins (https://gtfobins.github.io) and is never complete.
"""

from __future__ import annotations

import re

_STARTERS = frozenset(
    # shells and what runs a command line
    "ash bash busybox capsh chroot chrt cpulimit csh dash doas elvish env eval exec expect fakeroot firejail fish"
    " flock"
    " ionice ksh ksu ld ldd linux32 linux64 logsave mksh multitime nice nohup nsenter numactl openvt parallel"
    " pkexec posh"
    " rlwrap runc runcon runuser sash screen script scriptreplay setarch setpriv setsid sg sh softlimit sshpass"
    " stdbuf"
    " strace su sudo systemd-run systemd-inhibit taskset tcsh time timeout tini tmate tmux toybox unbuffer unshare"
    " watch"
    " xargs yash zsh start-stop-daemon run-parts valgrind ltrace gdbserver dbus-run-session dbus-launch"
    # interpreters, compilers, builders, debuggers
    " awk bc cargo cc clang cmake cpan cpp crash dc deno erl ex gawk gcc gdb gem ghc ghci go groovy irb java jjs"
    " jq julia"
    " jrunscript lldb lua luajit m4 make mawk nasm nawk ninja node nodejs npm npx octave original-awk osascript"
    " perf perl"
    " php pip pipx pry pwsh python pypy R Rscript rake ruby rustc sbcl scala sed sqlite sqlite3 swift tclsh tsc uv"
    " uvx"
    " wish yarn bpftrace psql mysql mariadb mongo mongosh redis-cli"
    # editors and pagers
    " ed emacs jed joe less lesspipe man mcedit micro more most ne nano pico pg rvim rview vi view vigr vim"
    " vimdiff vipw"
    " nvim visudo pager editor sensible-editor sensible-pager"
    # finders, archivers, copiers, whatever writes where it is told
    " ar bsdtar bzip2 cp cpio csplit dd find fd gzip install ln locate mv pax rename rsync sort split tar tee"
    " truncate"
    " unzip xz zip zstd 7z shred sponge mkfifo mknod"
    # network
    " aria2c curl ftp lftp nc ncat netcat nmap openssl scp sftp socat ssh sshfs ssh-agent ssh-keygen tcpdump"
    " telnet tftp"
    " wget wireshark tshark"
    # container and cluster clients, version control, package managers, configuration
    " ansible ansible-playbook apk apt aptitude apt-get bundle chef-client composer ctr debootstrap dnf docker"
    " docker-compose dpkg easy_install git helm hg kubectl lxc machinectl nerdctl nix pacman pdb podman puppet rpm"
    " salt"
    " skopeo snap svn terraform virsh yum zypper update-alternatives"
    # schedulers, mounts, accounts, kernel
    " at batch crontab chmod chpasswd debugfs dmsetup insmod ip iptables kexec mkfs modprobe mount nft"
    " passwd setcap setfacl sysctl tune2fs umount useradd usermod visudo losetup letsbe".split()
)

#: Programs whose first argument says what they do, from reading to anything.
_VERBS = frozenset(
    "apt-cache busctl certbot coredumpctl hostnamectl initctl journalctl localectl loginctl networkctl nginx"
    " nmcli occ"
    " rc-service resolvectl restic service supervisorctl systemctl timedatectl ufw".split()
)

#: vim.basic, python3.11, perl5.36-x86_64-linux-gnu, gcc-12: a name up to what only tells variants apart.
_VARIANT = re.compile(r"(?P<name>[A-Za-z][A-Za-z_+]*(?:-[A-Za-z][A-Za-z_+]*)*?)(?:[-.]?[0-9].*|\.[a-z0-9]+|-static)?")

_INJECTING_PREFIXES = (
    "LD_", "GIT_", "PYTHON", "PERL", "RUBY", "NODE_", "NPM_", "LUA", "TCL", "PHP", "JAVA_", "_JAVA_", "JDK_", "BASH_",
    "DOCKER_", "COMPOSE_", "LETSBE_", "XDG_", "SSH_", "SUDO_", "SYSTEMD_", "GEM_", "BUNDLE_", "DPKG_",
    "APT_", "GLIBC_", "MALLOC_", "LISTEN_", "_PYI", "DYLD_", "CARGO_", "VIM", "OPENSSL_", "KUBE",
)  # fmt: skip
_INJECTING_SUFFIXES = (
    "_COMMAND", "_CMD", "_PAGER", "_EDITOR", "_ASKPASS", "_OPTIONS", "_OPTS", "_RSH", "_SHELL", "_PROG", "_PRELOAD",
    "_LIBRARY_PATH",
)  # fmt: skip
_INJECTING = frozenset(
    "PATH ENV IFS SHELL SHELLOPTS BASHOPTS PAGER EDITOR VISUAL BROWSER HOME CDPATH PS1 PS2 PS3 PS4 ZDOTDIR TERMINFO"
    " TERMCAP INPUTRC GCONV_PATH LOCPATH NLSPATH EXINIT GVIMINIT LESS LESSOPEN LESSCLOSE LESSKEY MANPAGER MANOPT"
    " CURL_HOME HOSTALIASES RES_OPTIONS TMPDIR CLASSPATH PSQLRC PGSERVICEFILE"
    " PGSYSCONFDIR WGETRC NETRC SSLKEYLOGFILE OLDPWD PWD MAIL MORE TZDIR".split()
)


def starts_others(program: str) -> bool:
    """Whether the program of this path or name, or one that it is a variant of, can be made to do anything."""
    names = _names(program)
    return not names.isdisjoint(_STARTERS) or any(name.startswith(("ld-", "ld.so")) for name in names)


def takes_verb(program: str) -> bool:
    """Whether the program's first argument says what it does."""
    return not _names(program).isdisjoint(_VERBS)


def injects_code(variable: str) -> bool:
    """Whether an environment variable of this name can make programs run something else, or write somewhere."""
    name = variable.upper()
    return name in _INJECTING or name.startswith(_INJECTING_PREFIXES) or name.endswith(_INJECTING_SUFFIXES)


def _names(program: str) -> set[str]:
    name = program.rpartition("/")[2]
    variant = _VARIANT.fullmatch(name)
    return {name, variant["name"]} if variant else {name}
