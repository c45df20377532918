//! Who may ask, and who may change something.
//! Invariant: a page of another site can neither read what this server says nor make a browser change anything here.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::server;

/// Who may ask for what.
pub(crate) struct Guard {
    /// Whether only this machine can reach the server.
    pub(crate) is_local: bool,
    /// What a request that changes something must bring.
    pub(crate) token: Option<String>,
    /// The names by which the server may be asked for, besides `localhost` and addresses.
    pub(crate) names: Vec<String>,
}

/// Refuses what a foreign page could have sent.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_change = ![Method::GET, Method::HEAD].contains(request.method());
    let verdict = check_host(headers, &guard.names).and_then(|()| match is_change {
        true => check_change(headers, guard.is_local, guard.token.as_deref()),
        false => Ok(()),
    });
    let Err((code, words)) = verdict else { return next.run(request).await };
    let mut refusal = server::refusal(request.uri(), code, words);
    if code == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    refusal
}

type Verdict = Result<(), (StatusCode, &'static str)>;

/// A name that somebody else's DNS resolves to this machine is refused.
fn check_host(headers: &HeaderMap, names: &[String]) -> Verdict {
    let host = text(headers, header::HOST).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    if name == "localhost" || is_address || names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        Ok(())
    } else {
        Err((
            StatusCode::MISDIRECTED_REQUEST,
            "ask for localhost, for an IP address, or for a name that --http-names lists",
        ))
    }
}

fn check_change(headers: &HeaderMap, is_local: bool, token: Option<&str>) -> Verdict {
    let host = text(headers, header::HOST).unwrap_or_default();
    let is_own = text(headers, header::ORIGIN)
        .is_none_or(|origin| origin.strip_prefix("http://").is_some_and(|origin| origin == host));
    if !is_own {
        return Err((StatusCode::FORBIDDEN, "a page of another site may not change anything here"));
    }
    let given = text(headers, header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start())
    });
    match token {
        None if is_local => Ok(()),
        Some(token) if given.is_some_and(|given| is_same(given.as_bytes(), token.as_bytes())) => Ok(()),
        Some(_) => Err((StatusCode::UNAUTHORIZED, "this needs `Authorization: Bearer TOKEN`")),
        None => Err((StatusCode::FORBIDDEN, "this needs a token: start the node with QUARRY_HTTP_TOKEN")),
    }
}

/// Compares in a time that does not tell where the two differ.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let value = |text| HeaderValue::from_static(text);
        pairs.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }

    #[test]
    fn only_addresses_localhost_and_configured_names_are_hosts() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "10.0.0.1", "[::1]"] {
            assert_eq!(check_host(&headers(&[(header::HOST, host)]), &[]), Ok(()), "{host}");
        }
        let names = ["ledger.example.org".to_owned()];
        for host in ["ledger.example.org:8080", "Ledger.Example.Org"] {
            assert_eq!(check_host(&headers(&[(header::HOST, host)]), &names), Ok(()), "{host}");
        }
        for host in ["", "example.org", "localhost.example.org:8080", "127.0.0.1.example.org"] {
            assert!(check_host(&headers(&[(header::HOST, host)]), &names).is_err(), "{host}");
        }
    }

    #[test]
    fn changes_need_the_same_origin_and_elsewhere_a_token() {
        let host = (header::HOST, "127.0.0.1:8080");
        let own = (header::ORIGIN, "http://127.0.0.1:8080");
        let foreign = (header::ORIGIN, "http://example.org");
        let bearer = (header::AUTHORIZATION, "Bearer secret");
        let code = |pairs: &[_], is_local, token| {
            check_change(&headers(pairs), is_local, token).map_err(|(code, _)| code.as_u16())
        };
        assert_eq!(code(std::slice::from_ref(&host), true, None), Ok(()));
        assert_eq!(code(&[host.clone(), own.clone()], true, None), Ok(()));
        assert_eq!(code(&[host.clone(), foreign.clone()], true, None), Err(403));
        assert_eq!(code(&[host.clone(), (header::ORIGIN, "null")], true, None), Err(403));
        assert_eq!(code(std::slice::from_ref(&host), false, None), Err(403));
        assert_eq!(code(std::slice::from_ref(&host), false, Some("secret")), Err(401));
        assert_eq!(code(&[host.clone(), bearer.clone()], false, Some("secret")), Ok(()));
        assert_eq!(code(&[host.clone(), bearer], false, Some("secrets")), Err(401));
        for (value, verdict) in
            [("bearer secret", Ok(())), ("BEARER  secret", Ok(())), ("Basic secret", Err(401))]
        {
            assert_eq!(code(&[host.clone(), (header::AUTHORIZATION, value)], false, Some("secret")), verdict);
        }
        assert_eq!(code(&[host, foreign], false, Some("secret")), Err(403));
    }
}
