//! What a word that is not in the grammar probably means: words of other tools and languages.

use crate::model::protocol::{Protocol, SctpState, TcpState};
use crate::model::status::Status;

/// The words of the grammar for a word that is not at its place; `None` if nothing is known.
pub(super) fn meant(word: &str) -> Option<String> {
    let fixed = match word.to_ascii_lowercase().as_str() {
        "&&" | "&" => "and",
        "||" | "|" => "or",
        "!" | "!=" | "<>" => "not",
        "==" => "=",
        "and" | "or" | "not" | "in" if word.chars().any(char::is_uppercase) => {
            return Some(word.to_ascii_lowercase());
        }
        "unreplied" | "[unreplied]" if word != "unreplied" => "unreplied",
        "replied" | "[replied]" | "seen" => "status set SEEN_REPLY",
        "[assured]" => "status set ASSURED",
        "[offload]" | "offloaded" => "status set OFFLOAD",
        "dport" | "--dport" | "--orig-port-dst" => "orig dst port",
        "sport" | "--sport" | "--orig-port-src" => "orig src port",
        "daddr" | "-d" | "--orig-dst" | "to" => "orig dst",
        "saddr" | "-s" | "--orig-src" | "from" => "orig src",
        "--reply-src" | "-r" => "reply src",
        "--reply-dst" | "-q" => "reply dst",
        "-p" | "--protonum" | "protocol" | "l4proto" => "proto",
        "-m" | "--mark" | "ctmark" | "connmark" => "mark",
        "-w" | "--zone" => "zone",
        "-u" | "--status" | "ctstatus" => "status set",
        "state" | "ctstate" | "--state" => "tcp-state",
        "net" | "addr" | "ip-addr" => "host",
        "ttl" | "expires" => "timeout",
        "original" => "orig",
        "inet" => "ip",
        "inet6" => "ip6",
        _ => return known_value(word),
    };
    Some(fixed.to_owned())
}

/// A value without its keyword, or in the wrong case.
fn known_value(word: &str) -> Option<String> {
    if let Some(negated) = word.strip_prefix('!').filter(|rest| !rest.is_empty()) {
        return Some(format!("not {}", meant(negated).unwrap_or_else(|| negated.to_owned())));
    }
    let upper = word.to_ascii_uppercase();
    let bits: Option<Status> = bitflags::parser::from_str(&upper).ok();
    if bits.is_some_and(|bits| bits.bits().count_ones() == 1 && !upper.starts_with("0X")) {
        return Some(format!("status set {upper}"));
    }
    if upper.parse::<TcpState>().is_ok() {
        return Some(format!("tcp-state {upper}"));
    }
    if upper.parse::<SctpState>().is_ok() {
        return Some(format!("sctp-state {upper}"));
    }
    let lower = word.to_ascii_lowercase();
    let protocol = lower.parse::<Protocol>().ok().and_then(Protocol::name);
    protocol.filter(|name| *name == lower && lower != word).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use crate::filter::Filter;

    #[test]
    fn a_word_of_another_tool_is_answered_with_ours() {
        for (text, meant) in [
            ("UNREPLIED", "unreplied"),
            ("udp and UNREPLIED", "unreplied"),
            ("status ASSURED", "status set ASSURED"),
            ("assured", "status set ASSURED"),
            ("udp && tcp", "and"),
            ("udp | tcp", "or"),
            ("udp AND tcp", "and"),
            ("NOT udp", "not"),
            ("!udp", "not udp"),
            ("!UNREPLIED", "not unreplied"),
            ("dport 53", "orig dst port"),
            ("udp and sport 53", "orig src port"),
            ("saddr 10.0.0.1", "orig src"),
            ("-p udp", "proto"),
            ("state ESTABLISHED", "tcp-state"),
            ("tcp and ESTABLISHED", "tcp-state ESTABLISHED"),
            ("COOKIE_WAIT", "sctp-state COOKIE_WAIT"),
            ("UDP", "udp"),
            ("timeout == 5", "="),
        ] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains(&format!("; perhaps {meant:?}")), "{text}: {error}");
            // What is suggested is understood, at least as the beginning of something.
            let rest = ["", " 10.0.0.1", " 53", " ESTABLISHED", " udp", " 5"];
            let understood = rest.iter().any(|rest| {
                let whole = [format!("{meant}{rest}"), format!("udp {meant}{rest}")];
                let timed = format!("timeout {meant}{rest}");
                whole.iter().chain([&timed]).any(|text| text.parse::<Filter>().is_ok())
            });
            assert!(understood, "{meant}");
        }
        for text in ["udp and orig dst port x", "nonsense", "udp tcp", "and"] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(!error.contains("perhaps"), "{error}");
        }
    }
}
