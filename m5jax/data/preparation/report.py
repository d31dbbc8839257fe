from pathlib import Path
def write_report(directory: Path, statistics): (directory/"report.html").write_text("")
