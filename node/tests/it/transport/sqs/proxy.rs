//! A forwarder between the SDK and the emulator that does what no emulator does: it throttles, refuses, is out of
//! order, loses replies and takes its time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is answered with this status and code, and not forwarded.
    Answer(u16, &'static str),
    /// It is forwarded, and the connection closed instead of an answer.
    LoseReply,
    /// It is forwarded after this time.
    Delay(Duration),
}

/// A proxy in front of an endpoint; it ends with the test.
pub(crate) struct Proxy {
    state: Arc<State>,
    port: u16,
}

struct State {
    upstream: String,
    /// For which actions, how many times yet, and what.
    faults: Mutex<Vec<(&'static str, u32, Fault)>>,
    seen: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Proxy {
    pub(crate) fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
        let state = Arc::new(State {
            upstream,
            faults: Mutex::default(),
            seen: Mutex::default(),
            stop: AtomicBool::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let (client, shared) = (client.unwrap(), Arc::clone(&shared));
                // A client that goes away ends its thread with an error, which is none.
                thread::spawn(move || _ = shared.serve(client));
            }
        });
        Self { state, port }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next so many requests for an action meet a fault; an empty action stands for every one.
    pub(crate) fn fault(&self, action: &'static str, times: u32, fault: Fault) {
        self.state.faults.lock().unwrap().push((action, times, fault));
    }

    /// From now on all is well.
    pub(crate) fn heal(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// How often an action was asked for.
    pub(crate) fn seen(&self, action: &str) -> usize {
        self.state.seen.lock().unwrap().iter().filter(|seen| *seen == action).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        let _wakes_the_listener = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        let mut writer = client.try_clone()?;
        let mut reader = BufReader::new(client);
        loop {
            let Some((head, body)) = read_message(&mut reader)? else { return Ok(()) };
            let action =
                header(&head, "x-amz-target").and_then(|target| target.split('.').nth(1)).unwrap_or("");
            self.seen.lock().unwrap().push(action.to_owned());
            let fault = self.next_fault(action);
            match fault {
                Some(Fault::Answer(status, code)) => {
                    let body = format!(r#"{{"__type":"com.amazonaws.sqs#{code}","message":"injected"}}"#);
                    let head =
                        format!("HTTP/1.1 {status} Injected\r\ncontent-type: application/x-amz-json-1.0");
                    write_message(&mut writer, &head, body.as_bytes())?;
                    continue;
                }
                Some(Fault::Delay(time)) => thread::sleep(time),
                Some(Fault::LoseReply) | None => {}
            }
            let mut upstream = TcpStream::connect(&self.upstream)?;
            write_message(&mut upstream, &without_length(&head), &body)?;
            let Some((head, body)) = read_message(&mut BufReader::new(upstream))? else { return Ok(()) };
            if fault == Some(Fault::LoseReply) {
                return Ok(());
            }
            write_message(&mut writer, &without_length(&head), &body)?;
        }
    }

    fn next_fault(&self, action: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let (_, times, fault) =
            faults.iter_mut().find(|(of, times, _)| (of.is_empty() || *of == action) && 0 < *times)?;
        *times -= 1;
        Some(*fault)
    }
}

/// A request or answer: its head without the empty line, and its body.
fn read_message(reader: &mut impl BufRead) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut head = String::new();
    loop {
        let start = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head[start..].trim_end().is_empty() {
            head.truncate(start);
            break;
        }
    }
    let chunked = header(&head, "transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked"));
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
            reader.take(size).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else {
        let len = header(&head, "content-length").map_or(0, |len| len.parse().unwrap());
        reader.take(len).read_to_end(&mut body)?;
    }
    Ok(Some((head.trim_end().to_owned(), body)))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn without_length(head: &str) -> String {
    let lengths = ["content-length", "transfer-encoding", "connection", "keep-alive"];
    let other = |line: &&str| !lengths.iter().any(|name| line.to_ascii_lowercase().starts_with(name));
    head.lines().filter(other).collect::<Vec<_>>().join("\r\n")
}

fn write_message(writer: &mut impl Write, head: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len());
    writer.write_all(&[head.as_bytes(), body].concat())
}
