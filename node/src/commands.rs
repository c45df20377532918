//! What the program can do: one file per command, and the choice between them.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod output;

pub mod bench;
pub mod completions;
pub mod devices;
pub mod devnet;
pub mod generate;
pub mod init;
pub mod inspect;
pub mod key;
pub mod node;
pub mod peers;
#[cfg(feature = "sqs")]
pub mod queues;
pub mod send;
pub mod tune;
pub mod tx;

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::FromArgMatches as _;
use signal_hook::consts::SIGXFSZ;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;

use crate::args::{self, Cli, Command, CommonArgs, LogFormat};
use crate::clock;
use crate::exit::{self, Exit, OrExit as _};

/// How many digits of a digest a log for people shows.
const DIGEST_DIGITS: usize = 16;

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&args::command().get_matches()).unwrap_or_else(|error| error.exit());
    match survive_limits().and_then(|()| start_logging(&cli.common)).and_then(|()| run(&cli)) {
        Ok(exit) => exit.into(),
        // Whoever read has seen enough.
        Err(error) if error.is::<output::Closed>() => Exit::Done.into(),
        Err(error) => {
            let hint = exit::hint(&error).map_or_else(String::new, |hint| format!("hint: {hint}\n"));
            // Nothing is left to do where standard error is closed.
            let _ = write!(std::io::stderr(), "error: {error:#}\n{hint}");
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
        Some(Command::Tx(args)) => tx::run(common, args),
        Some(Command::Balance(args)) => inspect::balance(common, args),
        Some(Command::Status(args)) => inspect::status(common, args),
        Some(Command::Peers(args)) => peers::run(common, args),
        #[cfg(feature = "sqs")]
        Some(Command::Queues(command)) => queues::run(common, command),
        #[cfg(not(feature = "sqs"))]
        Some(Command::Queues(_)) => Err(crate::connection::without_sqs()),
        Some(Command::Verify(args)) => inspect::verify(common, args),
        Some(Command::Bench(args)) => bench::run(args),
        Some(Command::Tune(args)) => tune::run(common, args),
        Some(Command::Devices(args)) => devices::run(args),
        Some(Command::Completions(args)) => completions::completions(args),
        Some(Command::Man(args)) => completions::man(args),
    }
}

/// Has the limit on the size of files answered as an error, which names the file, instead of by a deadly signal.
fn survive_limits() -> Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).context("handling SIGXFSZ")?;
    Ok(())
}

fn start_logging(common: &CommonArgs) -> Result<()> {
    // Drivers that find nothing to drive are no error; `devices` says what is missing where that matters. Nor is a machine
    // outside EC2, which has no metadata service to ask for a region; our own error says what is missing.
    let filter: EnvFilter = format!("wgpu_hal::vulkan::instance=off,aws_config=error,{}", common.log)
        .parse()
        .with_context(|| format!("--log {}", common.log))
        .or_exit(Exit::Usage)
        .or_hint(|| "one of error, warn, info, debug and trace, or a filter such as node=debug".into())?;
    let ansi = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(std::io::stderr)
        // The complaint would go to standard error, too, and panic where that is what is broken.
        .log_internal_errors(false);
    match common.log_format {
        LogFormat::Human => {
            builder.with_target(false).with_timer(Seconds).fmt_fields(debug_fn(field).delimited(" ")).init()
        }
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// The time in UTC, to the millisecond.
struct Seconds;

impl FormatTime for Seconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let time = clock::utc().to_string();
        writer.write_str(&time[..time.len() - 3])
    }
}

/// Writes a field for people: the start of a digest is enough to look for it elsewhere.
fn field(writer: &mut Writer<'_>, field: &tracing::field::Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let shown = if is_digest { &value[..DIGEST_DIGITS] } else { &value };
    match field.name() {
        "message" => writer.write_str(shown),
        name => write!(writer, "{name}={shown}"),
    }
}
