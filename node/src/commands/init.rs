//! `init`: writes a network file.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use miner::Backend;
use quarry_core::network::{AccountEntry, Difficulty, Limits, Network, NetworkFile};
use quarry_core::target::Bits;

use crate::args::{CommonArgs, InitArgs};
use crate::clock;
use crate::commands::inspect::hash_rate;
use crate::commands::key;
use crate::commands::output::say;
use crate::commands::tune;
use crate::config::{self, Directory};
use crate::exit::{Exit, OrExit as _};

const HEADER: &str = "\
# Everything that the nodes of this network must agree on: each needs this very file.
# Whatever is changed here makes another network, which starts from its own first block.
";

/// How many leading hex zeros a block's hash has where nothing else is said.
const ZEROS: u32 = 5;
/// For how many seconds between blocks a difficulty is suggested where nothing else is said.
const INTERVAL_S: f64 = 10.0;

/// Writes a network file, and the keys of its accounts where they are not open.
pub fn run(common: &CommonArgs, args: &InitArgs) -> Result<Exit> {
    let path = args.file.clone().unwrap_or_else(|| Directory::new(common, ".").network_file());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or_else(|| ".".into(), ToOwned::to_owned);
    fs::create_dir_all(&folder)
        .with_context(|| format!("creating {}", folder.display()))
        .or_hint(|| "name a directory that can be written to with --dir".into())?;
    if path.exists() {
        let error = anyhow!("{} exists already", path.display());
        return Err(
            Exit::Usage.hinted(error, "a network file is never overwritten: name another file or --dir")
        );
    }

    let measured = if args.difficulty.is_none() { Some(measure(args)?) } else { None };
    let difficulty = match (&measured, args.block_time) {
        (Some(measured), Some(_)) => Difficulty::Bits(measured.bits),
        _ => Difficulty::Zeros(args.difficulty.unwrap_or(ZEROS)),
    };
    let mut file = NetworkFile {
        name: args.name.clone(),
        genesis_time: clock::utc(),
        difficulty,
        block_time: args.block_time.unwrap_or(0),
        reward: args.reward.to_string(),
        limits: Limits::default(),
        accounts: (0..args.accounts)
            .map(|number| AccountEntry::open(&format!("node{number}"), args.balance))
            .collect(),
    };
    // Checked before any key is written.
    Network::new(&file).or_exit(Exit::Usage)?;
    let key_file = |account: &AccountEntry| folder.join(format!("{}.key.toml", account.name));
    if !args.open {
        // All or none: half of the keys would be in the way of the next attempt.
        if let Some(file) = file.accounts.iter().map(key_file).find(|file| file.exists()) {
            let error = anyhow!("{} exists already", file.display());
            return Err(Exit::Usage
                .hinted(error, "a key file is never overwritten: move it away, or name another --dir"));
        }
        for account in &mut file.accounts {
            let key_file = key_file(account);
            let key = key::create(&key_file)?;
            *account = AccountEntry::keyed(&account.name, args.balance, &key.public);
        }
    }
    let network = Network::new(&file).or_exit(Exit::Usage)?;
    let text = format!("{HEADER}{}", config::network_text(&file)?);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut output| output.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
        .or_exit(Exit::Usage)?;
    if !args.open {
        for account in &file.accounts {
            say!("key      {} (account {})", key_file(account).display(), account.name)?;
        }
    }
    say!("network  {} (`{}`, {})", path.display(), network.name, network.id.0.short())?;
    let program = config::program();
    match path.file_name().is_some_and(|name| name == "network.toml") {
        true => say!("start    {program} 0 --dir {}", folder.display())?,
        false => say!("start    {program} 0 --network {} --dir DIR", path.display())?,
    }
    measured.map_or(Ok(Exit::Done), |measured| suggest(args, &path, &measured))
}

/// What this machine does on what `--backend auto` takes.
struct Measured {
    hash_rate: f64,
    /// The difficulty that makes that a block in the time that is wanted.
    bits: Bits,
}

fn measure(args: &InitArgs) -> Result<Measured> {
    let search = Backend::Auto.open(&miner::Options::default())?;
    let interval_s = args.block_time.map_or(INTERVAL_S, f64::from);
    let (bits, hash_rate) = tune::suggest(&*search, interval_s)?;
    Ok(Measured { hash_rate, bits })
}

/// Says what difficulty would suit this machine, where the user has not said which he wants.
fn suggest(args: &InitArgs, path: &Path, measured: &Measured) -> Result<Exit> {
    let (rate, program) = (hash_rate(measured.hash_rate), config::program());
    let zeros = measured.bits.target()?.zeros();
    match args.block_time {
        Some(block_time) => {
            say!("measured {rate} here: a block in {block_time} s is {zeros:.2} hex zeros at first")?
        }
        None => {
            let now_s = 16_f64.powi(ZEROS.cast_signed()) / measured.hash_rate;
            let suits = format!("{zeros:.2} one in {INTERVAL_S} s");
            say!("measured {rate} here: {ZEROS} hex zeros are a block in {now_s:.3} s, {suits}")?;
            say!("change   {program} tune --interval {INTERVAL_S} --write {}", path.display())?;
        }
    }
    Ok(Exit::Done)
}
