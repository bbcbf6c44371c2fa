"""What bounds the things that are read from outside: kinds of files, bytes, pixels, unpacked sizes."""
