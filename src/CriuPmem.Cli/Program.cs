System.Environment.Exit(1);
