//! The examples that `--help` ends with.

/// For `node --help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  node devnet                      four nodes and a generator, until Ctrl-C
  node 0 --backend cpu             node 0, mining with the CPU
  node generate --rate 2           two random transactions a second
  node send --from node0 --to node1 --amount 0.50
  node chain                       the newest blocks
  node block 1 --raw | sha256sum   the hash of block 1, by another program
  watch cat blockchain0.txt        what node 0 believes, live
  node 4 --transport sqs --leave   join a network on Amazon SQS, and leave it at the end

Exit codes:
  0 done              1 failed                   2 wrong usage or settings
  3 a broken rule     4 in use by a running node 5 files or queues of another network
  6 not found         7 transaction refused      8 no GPU can be used
  9 no access to SQS: no region, no credentials, or a right is missing
  10 SQS cannot be reached";

/// For `node devnet --help`.
pub(super) const DEVNET_EXAMPLES: &str = "\
Examples:
  node devnet                            until Ctrl-C; the next one goes on
  node devnet --fresh                    from the first block again
  node devnet --dir /tmp/d --nodes 7 --difficulty 4 --rate 20
  node devnet --block-time 5 --delay 200 a difficulty that follows, and a slow network
  node devnet --transport sqs            over SQS, as AWS_PROFILE or AWS_ENDPOINT_URL_SQS says

While it runs, http://127.0.0.1:8079 shows all nodes and has buttons that stop, kill, start, cut off and
rejoin them (--http ADDRESS, or off). In another terminal:
  watch cat devnet/blockchain0.txt       the chain as node 0 sees it
  node status --node 2 --dir devnet      node 2: its process, peers, counters
  kill -9 PROCESS; node 2 --dir devnet   node 2 catches up with the others";

/// For `node generate --help`.
pub(super) const GENERATE_EXAMPLES: &str = "\
Examples:
  node generate                          one a second until Ctrl-C
  node generate --rate max --count 1000  a thousand as fast as possible
  node generate --seed 7 --count 10      the same choices every time";

/// For `node send --help`.
pub(super) const SEND_EXAMPLES: &str = "\
Examples:
  node send --from node0 --to node1 --amount 0.50     from an open account
  node send --key key.toml --to node1 --amount 0.50   from a key's account";

/// For `node init --help`.
pub(super) const INIT_EXAMPLES: &str = "\
Examples:
  node init --open                       four open accounts of 10.00 each
  node init --accounts 2 --reward 0.25   two keys, and a reward for each block
  node init --open --block-time 30       a difficulty that follows the hash rate
  node send --key node0.key.toml --to node1 --amount 1.00";

/// For `node peers --help`.
pub(super) const PEERS_EXAMPLES: &str = "\
States:
  alive     heard of lately
  suspect   silent for three rounds of statuses; asked for a reply
  parked    silent for long: it is sent nothing but a question now and then, until it is heard again
  stopped   it said that it stops

The delay is half of the round trip of a status and its reply, smoothed: a message's way there.

Examples:
  node peers --dir devnet                as the node with the lowest number sees them
  node peers --node 2 --json             as node 2 does, for programs";

/// For `node tx --help`.
pub(super) const TX_EXAMPLES: &str = "\
A running node remembers the last 10,000 transactions that it has refused or that have expired, until it stops. Those of
blocks that are older than twice the time for which a transaction is valid are unknown.

Exit codes:
  0 pending or mined   6 unknown   7 refused or expired

Examples:
  node tx 5f2c...                        as the node with the lowest number sees it
  node tx 5f2c... --node 2 --json        as node 2 does, for programs";

/// For `node tune --help`.
pub(super) const TUNE_EXAMPLES: &str = "\
With d the delay, T the time between any two blocks and p the shares of the nodes, each block of the chain has
x = (d / T)(1 - sum of p^2) stale ones beside it: x / (1 + x) of all blocks are stale, and the chain grows in T (1 + x).
That is right to within 0.7 points for d / T up to 0.2. Bounds of what blocks tell are those of 95 % confidence.

Examples:
  node tune                                      a block in 10 s with all of this machine
  node tune --interval 60 --hash-rate 1.5G --delay 200 --nodes 10
  node tune --stale 1 --node 0 --dir devnet      1 % of stale blocks, on the network as node 0 sees it
  node tune --interval 30 --simulate --write network.toml";

/// For `node queues --help`.
pub(super) const QUEUES_EXAMPLES: &str = "\
--network names a network file or, where there is no such file, the network itself: its queues are then called
NAME-0.fifo, NAME-1.fifo, ... whichever network file the nodes have. All of these commands may be repeated.

Examples:
  node queues create --network demo --nodes 4
  node queues list --network demo
  node queues purge --network demo --node 2
  node queues delete --network demo --nodes 4";

/// For `node completions --help`.
pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  node completions bash >~/.local/share/bash-completion/completions/node
  node completions zsh >~/.zfunc/_node
  node completions fish >~/.config/fish/completions/node.fish";

/// For `node man --help`.
pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  node man target/man; man -l target/man/node.1";
