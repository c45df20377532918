//! What kind of EC2 instance this is, if it is one, and what mining on it may cost.

use std::time::Duration;

use miner::burstable::Burstable;
use miner::cpu::duty::CpuLimit;
use tracing::{debug, info};
use ureq::Agent;

/// How long the instance metadata service, which is on the same host, has to answer.
const TIMEOUT: Duration = Duration::from_millis(300);

/// The share of CPU time that costs nothing extra here: the baseline of a burstable instance, all of any other machine.
/// Says what it chose.
pub fn cpu_limit() -> CpuLimit {
    let disabled =
        std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    let endpoint = std::env::var("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let endpoint = endpoint.as_deref().unwrap_or("http://169.254.169.254");
    let instance_type = if disabled { None } else { instance_type(endpoint) };
    let (limit, text) = choose(instance_type.as_deref());
    info!("{text}");
    limit
}

/// The instance type by the metadata service's second version; `None` where there is no such service.
fn instance_type(endpoint: &str) -> Option<String> {
    let agent: Agent = Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
    let endpoint = endpoint.trim_end_matches('/');
    let ask = || -> Result<String, ureq::Error> {
        let token = agent
            .put(format!("{endpoint}/latest/api/token"))
            .header("X-aws-ec2-metadata-token-ttl-seconds", "60")
            .send_empty()?
            .body_mut()
            .read_to_string()?;
        let url = format!("{endpoint}/latest/meta-data/instance-type");
        agent.get(url).header("X-aws-ec2-metadata-token", token).call()?.body_mut().read_to_string()
    };
    ask().inspect_err(|error| debug!("no instance metadata: {error}")).ok()
}

/// The limit for an instance type, and how to say it.
fn choose(instance_type: Option<&str>) -> (CpuLimit, String) {
    let Some(name) = instance_type else {
        return (CpuLimit::NONE, "cpu limit: 100 %, this is not an EC2 instance".to_owned());
    };
    let Some(burstable) = Burstable::of(name) else {
        return (CpuLimit::NONE, format!("cpu limit: 100 %, {name} is not a burstable instance"));
    };
    let percent = burstable.baseline_percent;
    let limit = CpuLimit::percent(percent).expect("every baseline is a limit");
    let cost = burstable.surplus_usd_per_hour(100.0);
    let mode = if burstable.starts_unlimited {
        "which it starts in unless told otherwise"
    } else {
        "if switched on"
    };
    let text = format!(
        "cpu limit: {percent} %, the baseline of {name}; at 100 % its credits run out, and then unlimited mode, {mode}, \
         costs ${cost:.2} an hour on top"
    );
    (limit, text)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request after the other as the metadata service does.
    fn metadata_service(requests: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(requests) {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                let has = |text: &str| head.iter().any(|line| line.eq_ignore_ascii_case(text));
                let (status, body) = if has("PUT /latest/api/token HTTP/1.1") {
                    ("200 OK", "secret")
                } else if has("GET /latest/meta-data/instance-type HTTP/1.1")
                    && has("x-aws-ec2-metadata-token: secret")
                {
                    ("200 OK", "t3.small")
                } else {
                    ("401 Unauthorized", "")
                };
                let len = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
        format!("http://{address}/")
    }

    #[test]
    fn the_instance_type_is_asked_for_with_a_token() {
        assert_eq!(instance_type(&metadata_service(2)), Some("t3.small".to_owned()));
        assert_eq!(instance_type("http://127.0.0.1:1"), None);
    }

    #[test]
    fn the_choice_says_what_it_saves() {
        let (limit, text) = choose(Some("t3.small"));
        assert_eq!(Some(limit), CpuLimit::percent(20.0));
        assert!(text.contains("20 %") && text.contains("$0.08 an hour"), "{text}");
        for other in [None, Some("c7i.large"), Some("garbage")] {
            assert_eq!(choose(other).0, CpuLimit::NONE);
        }
    }
}
