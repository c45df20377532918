//! `completions SHELL` and `man DIR`: what a shell and `man` know of the program, made from its command line.

use std::fs;

use anyhow::{Context as _, Result};

use crate::args::{self, CompletionsArgs, ManArgs};
use crate::commands::output;
use crate::exit::Exit;

/// Prints what makes a shell complete the program's options.
pub fn completions(args: &CompletionsArgs) -> Result<Exit> {
    let mut command = args::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    output::bytes(&script)?;
    Ok(Exit::Done)
}

/// Writes a manual page for the program and one for each of its commands.
pub fn man(args: &ManArgs) -> Result<Exit> {
    fs::create_dir_all(&args.to)
        .and_then(|()| clap_mangen::generate_to(args::command(), &args.to))
        .with_context(|| format!("{}: the manual pages cannot be written", args.to.display()))?;
    Ok(Exit::Done)
}
