"""`python -m espeer` is `espeer`."""

from espeer.cli.main import main

main()
