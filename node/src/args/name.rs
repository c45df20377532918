//! The name that the program goes by: `node` in this tree, `quarry` where it is installed, for its texts say how to call
//! it.

use clap::builder::StyledStr;
use clap::{Command, CommandFactory as _};

use super::Cli;

/// What the program is called where it shares a directory with all others.
const INSTALLED: &str = "quarry";
/// What stands before the name where a text says how to call the program.
const CALLS: [&str; 3] = ["\n  ", "; ", "`"];

/// The command line of the program that is running.
pub fn command() -> Command {
    let path = std::env::args_os().next().map(std::path::PathBuf::from).unwrap_or_default();
    if path.file_stem().is_some_and(|stem| stem == INSTALLED) { installed() } else { Cli::command() }
}

/// The command line of the installed program.
pub(super) fn installed() -> Command {
    let usage = format!("{INSTALLED} [OPTIONS] <ID>\n       {INSTALLED} [OPTIONS] <COMMAND>");
    rename(Cli::command()).name(INSTALLED).bin_name(INSTALLED).override_usage(usage)
}

/// Calls the program by its other name in all texts of a command.
fn rename(command: Command) -> Command {
    let mut command = command.mut_subcommands(rename).mut_args(|mut arg| {
        if let Some(text) = arg.get_help().map(renamed) {
            arg = arg.help(text);
        }
        match arg.get_long_help().map(renamed) {
            Some(text) => arg.long_help(text),
            None => arg,
        }
    });
    if let Some(text) = command.get_long_about().map(renamed) {
        command = command.long_about(text);
    }
    if let Some(text) = command.get_after_help().map(renamed) {
        command = command.after_help(text);
    }
    command
}

fn renamed(text: &StyledStr) -> String {
    let rename =
        |text: String, call: &&str| text.replace(&format!("{call}node "), &format!("{call}{INSTALLED} "));
    CALLS.iter().fold(text.to_string(), rename)
}
