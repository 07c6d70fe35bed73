from pathlib import Path
PATH=Path("x")
def render(r): return ""
