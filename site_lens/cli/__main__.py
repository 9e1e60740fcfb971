"""What `python -m site_lens.cli` runs."""

from site_lens.cli import main

if __name__ == "__main__":
    main()
