//! `tidings completions` and `tidings man`: the command line's own description, for shells and for `man`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::outcome::{CommandError, end};

/// Print the completions of a shell, to be put where it looks for them
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CommandError for io::Error {
    fn is_broken_pipe(&self) -> bool {
        self.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Prints the completions of `command`.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> ExitCode {
    // It panics where its output ends.
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    end(io::stdout().write_all(&script))
}

/// Prints the manual page of `command`, with all its subcommands.
pub fn man(command: Command) -> ExitCode {
    end(print_man(command))
}

fn print_man(command: Command) -> io::Result<()> {
    let mut page = Vec::new();
    let subcommands: Vec<_> = command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let name = command.get_name().to_owned();
    Man::new(command).render(&mut page)?;
    for subcommand in subcommands {
        let title = format!("{name} {}", subcommand.get_name());
        let man = Man::new(subcommand.display_name(&title).bin_name(&title));
        writeln!(page, ".SH \"{}\"", title.to_uppercase())?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    io::stdout().write_all(&page)
}
