"""`python -m vision`."""

from vision.entry import main

main()
