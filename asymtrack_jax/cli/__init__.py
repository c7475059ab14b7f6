"""The console command `asymtrack`: one module per subcommand, which parses its options."""
