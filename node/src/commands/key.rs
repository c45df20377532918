//! `key`: makes and shows the keys of keyed accounts.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use quarry_core::transaction::public_key;
use quarry_core::units::{AccountId, Hash};
use serde::{Deserialize, Serialize};

use crate::args::KeyCommand;
use crate::commands::output::say;
use crate::config;
use crate::exit::{Exit, OrExit as _};

/// A key file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    secret_key: String,
}

/// A secret key with what follows from it.
pub struct Key {
    /// The 32 bytes that sign.
    pub secret: [u8; 32],
    /// The 32 bytes that everybody may know.
    pub public: [u8; 32],
    /// The account that it may spend from.
    pub account: AccountId,
}

/// Makes or shows a key.
pub fn run(command: &KeyCommand) -> Result<Exit> {
    let (key, file) = match command {
        KeyCommand::New { file } => (create(file)?, file),
        KeyCommand::Show { file } => {
            let key = read(file);
            let hint = || format!("make one: {} key new {}", config::program(), file.display());
            (if file.exists() { key } else { key.or_hint(hint) }?, file)
        }
    };
    say!("file        {}", file.display())?;
    say!("public key  {}", Hash(key.public))?;
    say!("account     {}", key.account)?;
    Ok(Exit::Done)
}

/// Makes a key and writes it to a file that does not exist yet.
pub fn create(file: &Path) -> Result<Key> {
    let key = Key::new(rand::random());
    let content = toml::to_string(&KeyFile { secret_key: Hash(key.secret).to_string() })?;
    let mut open = OpenOptions::new();
    let mut output = (open.write(true).create_new(true).mode(0o600).open(file))
        .with_context(|| format!("creating key file {}", file.display()))
        .or_exit(Exit::Usage)
        .or_hint(|| {
            "a key file is never overwritten: name one that does not exist, in a directory that does".into()
        })?;
    output.write_all(
        format!("# Whoever reads this can spend from account {}.\n{content}", key.account).as_bytes(),
    )?;
    Ok(key)
}

/// Reads a key file.
pub fn read(file: &Path) -> Result<Key> {
    let parse = || -> Result<Key> {
        let content: KeyFile = toml::from_str(&fs::read_to_string(file)?)?;
        Ok(Key::new(content.secret_key.parse::<Hash>()?.0))
    };
    parse().with_context(|| format!("reading key file {}", file.display())).or_exit(Exit::Usage)
}

impl Key {
    fn new(secret: [u8; 32]) -> Self {
        let public = public_key(&secret);
        Self { secret, public, account: AccountId::keyed(&public) }
    }
}
