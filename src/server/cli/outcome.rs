//! How commands end.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command failed, in words for the person who started it.
pub trait CommandError: fmt::Display {
    /// The exit code that the command's help promises.
    fn exit_code(&self) -> u8 {
        1
    }

    /// Whether nobody reads the output any more, as in `| head -1`. That is no failure of a command that prints.
    fn is_broken_pipe(&self) -> bool;
}

/// Prints an error to standard error, and returns the exit code.
pub fn end(result: Result<(), impl CommandError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Writes a line to standard error, with the program's name in front. Unlike `eprintln!` it does not panic when nobody reads that.
pub(super) fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "tidings: {line}");
}
