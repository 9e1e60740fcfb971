"""Entry point of `python -m site_lens.cli`."""

from site_lens.cli import main

if __name__ == "__main__":
    main()
