"""Tables, then figures, then one HTML page. `page.write` does it all; `terminal.print_summary` is the short form."""
