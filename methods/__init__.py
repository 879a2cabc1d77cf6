"""The compression methods: one file each, found without being listed. Files that start with `_` are shared code."""
