//! What nodes say to each other: one JSON text per queue message, version and network first.
//! Invariant: a decoded [`Message`] is for this network and version and keeps every limit; its blocks and
//! transactions are only well-formed, [`crate::rules`] decide about them.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::block::Block;
use crate::header::{Header, TimestampOutOfRange};
use crate::json::{BlockJson, JsonError, TransactionJson};
use crate::network::{Limits, MESSAGE_OVERHEAD, Network};
use crate::target::Work;
use crate::transaction::Transaction;
use crate::units::{Hash, Height, NetworkId, NodeId};

/// The version of the protocol; a node understands only its own.
pub const PROTOCOL_VERSION: u32 = 2;
/// The most headers in a reply.
pub const HEADERS_MAX: usize = 500;
/// What a header takes in a reply: its hex digits, two quotes and a comma.
const HEADER_JSON_LEN: usize = 2 * Header::LEN + 3;
/// The most hashes in a locator or a request for blocks.
pub const HASHES_MAX: usize = 128;

/// A message between nodes. `nonce` makes a request or reply unlike every other, because a queue delivers equal
/// messages once; blocks and transactions carry none, so that equal ones from several nodes collapse.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Transactions that may be news.
    Transactions(Vec<Transaction>),
    /// A block that may be news.
    Block(Arc<Block>),
    /// Asks for the headers after the first hash of the locator that is on the receiver's best chain.
    GetHeaders(Request),
    /// Answers [`Message::GetHeaders`].
    Headers {
        /// Who answers.
        from: NodeId,
        /// The request's nonce.
        nonce: u64,
        /// Consecutive headers of the sender's best chain, [`headers_max`] of them where there are more.
        headers: Vec<Header>,
        /// Whether the sender's best chain goes on after them.
        more: bool,
    },
    /// Asks for blocks by hash.
    GetBlocks(Request),
    /// Answers [`Message::GetBlocks`] with as many of the blocks as fit, in the order asked for.
    Blocks {
        /// Who answers.
        from: NodeId,
        /// The request's nonce.
        nonce: u64,
        /// The blocks.
        blocks: Vec<Block>,
    },
    /// Says where the sender stands.
    Status(Status),
    /// The sender stops.
    Bye {
        /// Who stops.
        from: NodeId,
        /// Makes the message unlike the one of the last stop.
        nonce: u64,
    },
}

/// A list of hashes to be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Who asks.
    pub from: NodeId,
    /// Comes back in the reply.
    pub nonce: u64,
    /// At most [`HASHES_MAX`] hashes.
    pub hashes: Vec<Hash>,
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Who says so.
    pub from: NodeId,
    /// Makes the message unlike every other.
    pub nonce: u64,
    /// The last block of its best chain.
    pub tip: Hash,
    /// That block's height.
    pub height: Height,
    /// The work of the whole chain.
    pub work: Work,
    /// Whether it would like to be told the receiver's status.
    pub reply_wanted: bool,
    /// The nonce of the status that wanted this one, which tells how long the way there and back takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
}

/// Why bytes are not a message for this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Over the network's limit.
    #[error("{bytes} bytes, but a message has at most {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: u32,
    },
    /// Not JSON, or not the fields that are wanted.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Another version of the protocol.
    #[error("protocol version {0}, but this node speaks {PROTOCOL_VERSION}")]
    Version(u32),
    /// Another network's message.
    #[error("for network {0}")]
    ForeignNetwork(NetworkId),
    /// Not a kind of message.
    #[error("unknown type `{0}`")]
    UnknownType(String),
    /// More elements than the message may have.
    #[error("{count} {what}, but a message has at most {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A header's timestamp has no text form.
    #[error(transparent)]
    Timestamp(#[from] TimestampOutOfRange),
    /// A block or transaction contradicts itself.
    #[error(transparent)]
    Json(#[from] JsonError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    quarry: u32,
    network: NetworkId,
    r#type: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadersJson {
    from: NodeId,
    nonce: u64,
    headers: Vec<String>,
    more: bool,
}

#[derive(Serialize)]
struct BlocksOut<'a> {
    from: NodeId,
    nonce: u64,
    blocks: &'a [Box<RawValue>],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlocksIn<'a> {
    from: NodeId,
    nonce: u64,
    #[serde(borrow)]
    blocks: Vec<BlockJson<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ByeJson {
    from: NodeId,
    nonce: u64,
}

impl Message {
    /// The message as bytes to send.
    pub fn encode(&self, network: &Network) -> Vec<u8> {
        match self {
            Self::Transactions(transactions) => {
                let list: Vec<_> = transactions.iter().map(|it| TransactionJson::new(it, network)).collect();
                envelope(network, "transactions", &list)
            }
            Self::Block(block) => envelope(network, "block", &BlockJson::new(block, network)),
            Self::GetHeaders(request) => envelope(network, "getHeaders", request),
            Self::Headers { from, nonce, headers, more } => {
                let headers = headers.iter().map(|header| const_hex::encode(header.to_bytes())).collect();
                let body = HeadersJson { from: *from, nonce: *nonce, headers, more: *more };
                envelope(network, "headers", &body)
            }
            Self::GetBlocks(request) => envelope(network, "getBlocks", request),
            Self::Blocks { from, nonce, blocks } => {
                let mut reply = BlocksReply::new(network);
                for block in blocks {
                    reply.blocks.push(raw(&BlockJson::new(block, network)));
                }
                reply.encode(*from, *nonce)
            }
            Self::Status(status) => envelope(network, "status", status),
            Self::Bye { from, nonce } => envelope(network, "bye", &ByeJson { from: *from, nonce: *nonce }),
        }
    }

    /// The message that some bytes from a peer stand for.
    pub fn decode(bytes: &[u8], network: &Network) -> Result<Self, MessageError> {
        let max = network.limits.message_bytes;
        if usize::try_from(max).is_ok_and(|max| max < bytes.len()) {
            return Err(MessageError::TooLarge { bytes: bytes.len(), max });
        }
        let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(malformed)?;
        if envelope.quarry != PROTOCOL_VERSION {
            return Err(MessageError::Version(envelope.quarry));
        }
        if envelope.network != network.id {
            return Err(MessageError::ForeignNetwork(envelope.network));
        }
        decode_body(&envelope.r#type, envelope.body.get(), network)
    }

    /// Whether many of these may wait in a queue without harm.
    pub fn is_bulk(&self) -> bool {
        matches!(self, Self::Transactions(_))
    }
}

/// The most headers in a reply on a network with these limits; one that is not the last holds as many.
pub fn headers_max(limits: &Limits) -> usize {
    let room = usize::try_from(limits.message_bytes - MESSAGE_OVERHEAD).unwrap_or(usize::MAX);
    HEADERS_MAX.min(room / HEADER_JSON_LEN)
}

/// Fills a reply to [`Message::GetBlocks`] up to the network's limit.
pub struct BlocksReply<'a> {
    network: &'a Network,
    blocks: Vec<Box<RawValue>>,
    room: usize,
}

impl<'a> BlocksReply<'a> {
    /// An empty reply.
    pub fn new(network: &'a Network) -> Self {
        let room = usize::try_from(network.limits.message_bytes - MESSAGE_OVERHEAD).unwrap_or(usize::MAX);
        // The overhead covers one block; a first one always fits.
        Self { network, blocks: Vec::new(), room }
    }

    /// Adds a block if there is room; `false` where there is none.
    pub fn push(&mut self, block: &Block) -> bool {
        let text = raw(&BlockJson::new(block, self.network));
        let len = text.get().len() + 1;
        if self.room < len && !self.blocks.is_empty() {
            return false;
        }
        self.room = self.room.saturating_sub(len);
        self.blocks.push(text);
        true
    }

    /// The reply as bytes to send.
    pub fn encode(&self, from: NodeId, nonce: u64) -> Vec<u8> {
        envelope(self.network, "blocks", &BlocksOut { from, nonce, blocks: &self.blocks })
    }
}

fn decode_body(kind: &str, body: &str, network: &Network) -> Result<Message, MessageError> {
    Ok(match kind {
        "transactions" => {
            let list: Vec<TransactionJson<'_>> = parse(body)?;
            Message::Transactions(list.iter().map(|it| it.parse(network)).collect::<Result<_, _>>()?)
        }
        "block" => Message::Block(Arc::new(parse::<BlockJson<'_>>(body)?.parse(network)?)),
        "getHeaders" => Message::GetHeaders(request(body)?),
        "headers" => headers(&parse(body)?)?,
        "getBlocks" => Message::GetBlocks(request(body)?),
        "blocks" => {
            let BlocksIn { from, nonce, blocks } = parse(body)?;
            at_most("blocks", blocks.len(), HASHES_MAX)?;
            let blocks = blocks.iter().map(|it| it.parse(network)).collect::<Result<_, _>>()?;
            Message::Blocks { from, nonce, blocks }
        }
        "status" => Message::Status(parse(body)?),
        "bye" => {
            let ByeJson { from, nonce } = parse(body)?;
            Message::Bye { from, nonce }
        }
        other => return Err(MessageError::UnknownType(other.chars().take(40).collect())),
    })
}

fn request(body: &str) -> Result<Request, MessageError> {
    let request: Request = parse(body)?;
    at_most("hashes", request.hashes.len(), HASHES_MAX)?;
    Ok(request)
}

fn headers(json: &HeadersJson) -> Result<Message, MessageError> {
    at_most("headers", json.headers.len(), HEADERS_MAX)?;
    let mut headers = Vec::with_capacity(json.headers.len());
    for text in &json.headers {
        let hex = if text.len() == 2 * Header::LEN { const_hex::decode_to_array(text).ok() } else { None };
        let bytes =
            hex.ok_or_else(|| MessageError::Malformed("a header is not 232 hex digits".to_string()))?;
        headers.push(Header::from_bytes(&bytes)?);
    }
    Ok(Message::Headers { from: json.from, nonce: json.nonce, headers, more: json.more })
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), MessageError> {
    if count <= max { Ok(()) } else { Err(MessageError::TooMany { what, count, max }) }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, MessageError> {
    serde_json::from_str(body).map_err(malformed)
}

fn malformed(error: serde_json::Error) -> MessageError {
    MessageError::Malformed(error.to_string().chars().take(200).collect())
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("our own types have only string keys and finite numbers")
}

fn envelope(network: &Network, kind: &str, body: &impl Serialize) -> Vec<u8> {
    let envelope = Envelope {
        quarry: PROTOCOL_VERSION,
        network: network.id,
        r#type: kind.to_string(),
        body: &raw(body),
    };
    serde_json::to_vec(&envelope).expect("our own types have only string keys and finite numbers")
}
