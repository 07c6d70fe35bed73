"""The program `asof`."""

import sys

from asof._asof import program


def main():
    sys.exit(program(sys.argv))
