"""What a person takes away: report.html of one run, and runs side by side; both from the folders alone."""
