//! What the program can do: one file per command, and the choice between them.

pub mod bench;
pub mod devnet;
pub mod generate;
pub mod init;
pub mod inspect;
pub mod key;
pub mod node;
pub mod send;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, CommonArgs, LogFormat};
use crate::exit::{self, Exit};

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = start_logging(&cli.common).and_then(|()| run(&cli));
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            // Nothing is left to do where standard error is closed.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("error: {error:#}\n"));
            exit::code(&error).into()
        }
    }
}

fn run(cli: &Cli) -> Result<Exit> {
    let common = &cli.common;
    match &cli.command {
        None => node::run(common, &cli.run),
        Some(Command::Devnet(args)) => devnet::run(common, args),
        Some(Command::Generate(args)) => generate::run(common, args),
        Some(Command::Send(args)) => send::run(common, args),
        Some(Command::Key(command)) => key::run(command),
        Some(Command::Init(args)) => init::run(common, args),
        Some(Command::Chain(args)) => inspect::chain(common, args),
        Some(Command::Block(args)) => inspect::block(common, args),
        Some(Command::Balance(args)) => inspect::balance(common, args),
        Some(Command::Status(args)) => inspect::status(common, args),
        Some(Command::Verify(args)) => inspect::verify(common, args),
        Some(Command::Bench(args)) => bench::run(args),
    }
}

fn start_logging(common: &CommonArgs) -> Result<()> {
    let filter: EnvFilter = common.log.parse()?;
    let ansi = std::io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr);
    match common.log_format {
        LogFormat::Human => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
