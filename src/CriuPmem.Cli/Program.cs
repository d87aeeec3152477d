using CriuPmem.Cli;

return Application.Run(args);
