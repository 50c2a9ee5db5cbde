"""Side-by-side comparisons with other runtimes; each script writes JSON and a Markdown table."""
