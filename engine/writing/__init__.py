"""The only way in which this package writes files: whole or not at all, whatever fails and whenever a process dies.

One file is a copy, then a rename (`files`). Files that belong together are a folder of copies, then one rename
(`together`); so is a new folder (`folders`). A library that writes a file by itself gets a place beside it
(`elsewhere`). Writers of one folder wait for each other (`lock`), and signals wait for them (`signals`).
"""

from engine.writing.elsewhere import written_elsewhere
from engine.writing.files import check_name, check_writable, write_file
from engine.writing.folders import write_folder
from engine.writing.lock import locked
from engine.writing.temporary import folder_until_exit
from engine.writing.together import FilesTogether

__all__ = [
    "FilesTogether",
    "check_name",
    "check_writable",
    "folder_until_exit",
    "locked",
    "write_file",
    "write_folder",
    "written_elsewhere",
]
