"""The pages for administrators, beside the API: server-rendered HTML that needs no script."""
