//! Tests of the command line.

use clap::CommandFactory;
use miner::cpu::duty::CpuLimit;
use quarry_core::units::{Hash, Height};

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_installed_program_is_called_by_its_own_name() {
    fn texts(command: &clap::Command) -> String {
        let own = [command.get_about(), command.get_long_about(), command.get_after_help()];
        let own = own.into_iter().flatten().chain(command.get_arguments().filter_map(|it| it.get_help()));
        let own = own.map(ToString::to_string);
        own.chain(command.get_subcommands().map(texts)).collect::<Vec<_>>().join("\n")
    }
    let mut installed = name::installed();
    installed.clone().debug_assert();
    let texts = texts(&installed);
    assert!(
        texts.contains("  quarry devnet --fresh ") && texts.contains("; quarry 2 --dir devnet"),
        "{texts}"
    );
    let calls =
        |line: &&str| line.starts_with("  node ") || line.contains("; node ") || line.contains("`node ");
    let call = texts.lines().find(calls);
    assert_eq!(call, None);
    assert!(installed.render_usage().to_string().starts_with("Usage: quarry [OPTIONS] <ID>"));
}

#[test]
fn a_block_is_named_by_height_or_hash() {
    assert_eq!("007".parse(), Ok(BlockRef::Height(Height(7))));
    assert_eq!("0".repeat(64).parse(), Ok(BlockRef::Hash(Hash::default())));
    for text in ["", "-1", "x", "18446744073709551616", "00ab"] {
        assert!(text.parse::<BlockRef>().is_err(), "{text}");
    }
}

#[test]
fn a_hash_rate_has_a_unit_or_none() {
    for (text, expected) in
        [("1", 1.0), ("2.5e8", 2.5e8), ("250M", 2.5e8), ("1.5 GH/s", 1.5e9), ("3kH/s", 3e3), ("1T", 1e12)]
    {
        assert_eq!(text.parse(), Ok(HashRate(expected)), "{text}");
    }
    for text in ["", "M", "0", "-1M", "NaN", "inf", "1m", "1X", "1é"] {
        assert!(text.parse::<HashRate>().is_err(), "{text}");
    }
}

#[test]
fn mining_options_survive_being_passed_on() {
    for line in [
        "",
        "--backend none --cpu-limit auto",
        "--threads 3 --kernel sha2 --midstates 4 --cpu-limit 12.5 --device a,b --allow-software-gpu",
    ] {
        let parse = |options: Vec<String>| {
            let words = ["node".to_owned(), "0".to_owned()].into_iter().chain(options);
            Cli::try_parse_from(words).unwrap().run.mining
        };
        let mining = parse(line.split_whitespace().map(str::to_owned).collect());
        assert_eq!(format!("{:?}", parse(mining.options())), format!("{mining:?}"));
    }
}

#[test]
fn a_number_runs_a_node_and_a_word_is_a_command() {
    let cli = Cli::try_parse_from(["node", "0", "--backend", "none", "--peers", "1, 2"]).unwrap();
    assert_eq!(cli.run.id, Some(NodeId(0)));
    assert_eq!(cli.run.mining.backend, BackendChoice(None));
    assert_eq!(cli.run.peers, Some(PeerList(vec![NodeId(1), NodeId(2)])));
    let cli =
        Cli::try_parse_from(["node", "--log", "debug", "devnet", "--nodes", "2", "--dir", "x"]).unwrap();
    assert!(matches!(cli.command, Some(Command::Devnet(DevnetArgs { nodes: 2, .. }))));
    assert_eq!(cli.common.dir, Some("x".into()));
    // A value that is spelt like a command is a value.
    let cli = Cli::try_parse_from(["node", "0", "--dir", "devnet"]).unwrap();
    assert_eq!((cli.run.id, cli.common.dir), (Some(NodeId(0)), Some("devnet".into())));
    assert!(cli.command.is_none());
    let cli = Cli::try_parse_from(["node", "--dir", "devnet", "chain", "--node", "2"]).unwrap();
    assert!(matches!(cli.command, Some(Command::Chain(_))));
    let line = "node 0 --cpu-limit 12.5% --midstates 4 --kernel sha2 --backend cpu --threads 3";
    let cli = Cli::try_parse_from(line.split(' ')).unwrap();
    assert_eq!(cli.run.mining.cpu_limit, LimitChoice(CpuLimit::percent(12.5)));
    assert_eq!(cli.run.mining.midstates.map(|it| it.0.get()), Some(4));
    for line in [
        "node 0 --cpu-limit 0",
        "node 0 --midstates 0",
        "node 0 --kernel x",
        "node 65536",
        "node -1",
        "node 0 --backend abacus",
        "node devnet --nodes 0",
        "node 0 1",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}
