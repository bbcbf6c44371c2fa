"""Changes of files: of their bytes, and of what lies in their formats, with lengths and checksums that stay right."""
