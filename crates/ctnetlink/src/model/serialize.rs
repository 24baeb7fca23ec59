//! `Serialize`, behind the feature `serde`. Field names are stable. Fields that an entry does not
//! have are left out, so that absent and zero stay different; only an absent `timeout` is `null`,
//! because an entry without one (an offloaded one) lives on, and does not expire at once.

use std::time::{Duration, SystemTime};

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::model::extension::{Counters, SeqAdj, SynProxy};
use crate::model::flow::Flow;
use crate::model::labels::Labels;
use crate::model::protocol::ProtocolState;
use crate::model::tuple::{Icmp, Tuple};
use crate::uapi::cta;

/// Writes the fields that are present.
macro_rules! fields {
    ($map:ident, $($name:literal: $value:expr),* $(,)?) => {$(
        if let Some(value) = $value {
            $map.serialize_entry($name, &value)?;
        }
    )*};
}

impl<B: AsRef<[u8]>> Serialize for Flow<B> {
    /// Numbers as numbers; `family`, `protocol` and `state` as text; times in nanoseconds since
    /// the epoch; attributes this crate does not know under `unknown`, by number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("family", &self.family().to_string())?;
        map.serialize_entry("protocol", &self.protocol().to_string())?;
        map.serialize_entry("protocol_number", &self.protocol().0)?;
        map.serialize_entry("orig", &InFlow(self.orig()))?;
        map.serialize_entry("reply", &InFlow(self.reply()))?;
        map.serialize_entry("status", &self.status().bits())?;
        map.serialize_entry("timeout", &self.timeout().map(|left| left.as_secs()))?;
        let times = self.timestamps();
        fields!(map,
            "mark": self.mark(),
            "zone": self.zone_of_both(),
            "id": self.id(),
            "use": self.use_count(),
            "state": self.protocol_state().map(|state| state.to_string()),
            "protocol_state": self.protocol_state(),
            "counters_orig": self.counters_orig(),
            "counters_reply": self.counters_reply(),
            "start": times.and_then(|t| t.start).map(nanoseconds),
            "stop": times.and_then(|t| t.stop).map(nanoseconds),
            "event_time": self.event_time().map(nanoseconds),
            "labels": self.labels(),
            "helper": self.helper(),
            "master": self.master(),
            "seq_adj_orig": self.seq_adj_orig(),
            "seq_adj_reply": self.seq_adj_reply(),
            "synproxy": self.synproxy(),
            "security_context": self.security_context(),
        );
        let unknown: Vec<_> = self
            .attributes()
            .filter(|attribute| usize::from(attribute.kind) >= cta::END)
            .map(|attribute| (attribute.kind, attribute.value))
            .collect();
        if !unknown.is_empty() {
            map.serialize_entry("unknown", &unknown)?;
        }
        map.end()
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Serialize for Tuple {
    /// A tuple by itself has fields for its protocol. The two tuples of a flow have none, because
    /// the flow has them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("protocol", &self.protocol().to_string())?;
        map.serialize_entry("protocol_number", &self.protocol().0)?;
        members(self, &mut map)?;
        map.end()
    }
}

/// One of the two tuples of a flow.
struct InFlow<'t>(&'t Tuple);

impl Serialize for InFlow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        members(self.0, &mut map)?;
        map.end()
    }
}

fn members<M: SerializeMap>(tuple: &Tuple, map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("src", &tuple.src())?;
    map.serialize_entry("dst", &tuple.dst())?;
    fields!(map,
        "src_port": tuple.src_port(),
        "dst_port": tuple.dst_port(),
        "icmp": tuple.icmp(),
        "zone": tuple.zone(),
    );
    Ok(())
}

impl Serialize for Icmp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("type", &self.kind)?;
        map.serialize_entry("code", &self.code)?;
        map.serialize_entry("id", &self.id)?;
        map.end()
    }
}

impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("packets", &self.packets)?;
        map.serialize_entry("bytes", &self.bytes)?;
        map.end()
    }
}

impl Serialize for SeqAdj {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("correction_pos", &self.correction_pos)?;
        map.serialize_entry("offset_before", &self.offset_before)?;
        map.serialize_entry("offset_after", &self.offset_after)?;
        map.end()
    }
}

impl Serialize for SynProxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("isn", &self.isn)?;
        map.serialize_entry("its", &self.its)?;
        map.serialize_entry("tsoff", &self.tsoff)?;
        map.end()
    }
}

impl Serialize for Labels {
    /// The numbers of the set bits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl Serialize for ProtocolState {
    /// All values are the kernel's numbers.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match *self {
            ProtocolState::Tcp { state, wscale_orig, wscale_reply, flags_orig, flags_reply } => {
                fields!(map,
                    "tcp_state": state.map(crate::model::protocol::TcpState::number),
                    "wscale_orig": wscale_orig,
                    "wscale_reply": wscale_reply,
                    "flags_orig": flags_orig,
                    "flags_reply": flags_reply,
                );
            }
            ProtocolState::Sctp { state, vtag_orig, vtag_reply } => {
                fields!(map,
                    "sctp_state": state.map(crate::model::protocol::SctpState::number),
                    "vtag_orig": vtag_orig,
                    "vtag_reply": vtag_reply,
                );
            }
            ProtocolState::Dccp { state, role, handshake_seq } => {
                fields!(map,
                    "dccp_state": state,
                    "role": role,
                    "handshake_seq": handshake_seq,
                );
            }
        }
        map.end()
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use crate::model::flow::tests::{DUMPED, unhex};
    use crate::model::flow::{FlowRef, tests::dumped};

    #[test]
    fn field_names_are_stable_and_absent_fields_are_left_out() {
        let json = serde_json::to_string(&dumped()).unwrap();
        assert_eq!(
            json,
            r#"{"family":"ipv4","protocol":"udp","protocol_number":17,"orig":{"src":"10.0.0.1","dst":"10.96.0.10","src_port":1001,"dst_port":53},"reply":{"src":"10.244.1.5","dst":"10.0.0.1","src_port":5353,"dst_port":1001},"status":424,"timeout":299,"mark":0,"id":1280286616,"use":1,"synproxy":{"isn":0,"its":0,"tsoff":0}}"#
        );
    }

    #[test]
    fn a_tuple_by_itself_names_its_protocol() {
        let json = serde_json::to_string(dumped().reply()).unwrap();
        assert_eq!(
            json,
            r#"{"protocol":"udp","protocol_number":17,"src":"10.244.1.5","dst":"10.0.0.1","src_port":5353,"dst_port":1001}"#
        );
    }

    #[test]
    fn unknown_attributes_are_shown_raw() {
        let bytes = [&unhex(DUMPED)[16..], &[5, 0, 200, 0, 9, 0, 0, 0]].concat();
        let json = serde_json::to_string(&FlowRef::parse(&bytes).unwrap()).unwrap();
        assert!(json.ends_with(r#""unknown":[[200,[9]]]}"#), "{json}");
    }
}
