"""Pictures as users have them: files, folders and arrays read into pixels.

One reader for training, for the client and for ``vae-train pools --names``, so that the same file is the same
pixels everywhere. It needs numpy and Pillow alone, and nothing else of ours. What each kind of picture
becomes is in the table of docs/training.md.
"""
