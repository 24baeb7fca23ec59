//! What an entry can have beside its tuples: counters, adjustments, protocol states, label names.

use pyo3::prelude::*;

use crate::error::raise;
use crate::record::record;
use crate::value::{SctpState, TcpState};

record! {
    [hash] []
    /// Packets and bytes of one direction.
    #[derive(Eq, Hash, Copy)]
    Counters {
        /// Packets.
        packets: u64,
        /// Bytes.
        bytes: u64,
    }
}

record! {
    [hash] []
    /// Adjustment of TCP sequence numbers of one direction.
    #[derive(Eq, Hash, Copy)]
    SeqAdj {
        /// Sequence number from which on ``offset_after`` applies.
        correction_pos: u32,
        /// Offset before that position.
        offset_before: i32,
        /// Offset from that position on.
        offset_after: i32,
    }
}

record! {
    [hash] []
    /// State of the SYN proxy.
    #[derive(Eq, Hash, Copy)]
    SynProxy {
        /// Initial sequence number.
        isn: u32,
        /// Initial timestamp.
        its: u32,
        /// Timestamp offset.
        tsoff: u32,
    }
}

record! {
    [hash] [state=None, wscale_orig=None, wscale_reply=None, flags_orig=None, flags_reply=None]
    /// State of a TCP entry. ``None`` is what the kernel did not send, or what a change leaves alone.
    #[derive(Eq, Hash, Copy)]
    TcpProtocolState {
        /// State of the connection.
        state: Option<TcpState>,
        /// Window scale of the original direction.
        wscale_orig: Option<u8>,
        /// Window scale of the reply direction.
        wscale_reply: Option<u8>,
        /// ``IP_CT_TCP_FLAG_*`` of the original direction.
        flags_orig: Option<u8>,
        /// ``IP_CT_TCP_FLAG_*`` of the reply direction.
        flags_reply: Option<u8>,
    }
}

record! {
    [hash] [state=None, vtag_orig=None, vtag_reply=None]
    /// State of an SCTP entry. ``None`` is what the kernel did not send; a change needs all three.
    #[derive(Eq, Hash, Copy)]
    SctpProtocolState {
        /// State of the association.
        state: Option<SctpState>,
        /// Verification tag of the original direction.
        vtag_orig: Option<u32>,
        /// Verification tag of the reply direction.
        vtag_reply: Option<u32>,
    }
}

record! {
    [hash] [state=None, role=None, handshake_seq=None]
    /// State of a DCCP entry, in the kernel's numbers.
    #[derive(Eq, Hash, Copy)]
    DccpProtocolState {
        /// State of the connection.
        state: Option<u8>,
        /// Role of the original direction.
        role: Option<u8>,
        /// Sequence number of the handshake.
        handshake_seq: Option<u64>,
    }
}

impl From<ctnetlink::Counters> for Counters {
    fn from(counters: ctnetlink::Counters) -> Self {
        Counters { packets: counters.packets, bytes: counters.bytes }
    }
}

impl From<ctnetlink::SeqAdj> for SeqAdj {
    fn from(adjustment: ctnetlink::SeqAdj) -> Self {
        let ctnetlink::SeqAdj { correction_pos, offset_before, offset_after } = adjustment;
        SeqAdj { correction_pos, offset_before, offset_after }
    }
}

impl From<SeqAdj> for ctnetlink::SeqAdj {
    fn from(adjustment: SeqAdj) -> Self {
        let SeqAdj { correction_pos, offset_before, offset_after } = adjustment;
        ctnetlink::SeqAdj { correction_pos, offset_before, offset_after }
    }
}

impl From<ctnetlink::SynProxy> for SynProxy {
    fn from(proxy: ctnetlink::SynProxy) -> Self {
        let ctnetlink::SynProxy { isn, its, tsoff } = proxy;
        SynProxy { isn, its, tsoff }
    }
}

impl From<SynProxy> for ctnetlink::SynProxy {
    fn from(proxy: SynProxy) -> Self {
        let SynProxy { isn, its, tsoff } = proxy;
        ctnetlink::SynProxy { isn, its, tsoff }
    }
}

/// The state of an entry's protocol: one of three classes.
#[derive(FromPyObject, IntoPyObject)]
pub(crate) enum ProtocolState {
    Tcp(TcpProtocolState),
    Sctp(SctpProtocolState),
    Dccp(DccpProtocolState),
}

impl ProtocolState {
    /// `None` for a state of a kind that this version does not know.
    pub(crate) fn of(state: ctnetlink::ProtocolState) -> Option<ProtocolState> {
        use ctnetlink::ProtocolState as State;
        Some(match state {
            State::Tcp { state, wscale_orig, wscale_reply, flags_orig, flags_reply } => {
                let state = state.map(TcpState);
                ProtocolState::Tcp(TcpProtocolState {
                    state,
                    wscale_orig,
                    wscale_reply,
                    flags_orig,
                    flags_reply,
                })
            }
            State::Sctp { state, vtag_orig, vtag_reply } => {
                let state = state.map(SctpState);
                ProtocolState::Sctp(SctpProtocolState { state, vtag_orig, vtag_reply })
            }
            State::Dccp { state, role, handshake_seq } => {
                ProtocolState::Dccp(DccpProtocolState { state, role, handshake_seq })
            }
            _ => return None,
        })
    }
}

impl From<ProtocolState> for ctnetlink::ProtocolState {
    fn from(state: ProtocolState) -> Self {
        match state {
            ProtocolState::Tcp(tcp) => ctnetlink::ProtocolState::Tcp {
                state: tcp.state.map(|state| state.0),
                wscale_orig: tcp.wscale_orig,
                wscale_reply: tcp.wscale_reply,
                flags_orig: tcp.flags_orig,
                flags_reply: tcp.flags_reply,
            },
            ProtocolState::Sctp(sctp) => ctnetlink::ProtocolState::Sctp {
                state: sctp.state.map(|state| state.0),
                vtag_orig: sctp.vtag_orig,
                vtag_reply: sctp.vtag_reply,
            },
            ProtocolState::Dccp(dccp) => ctnetlink::ProtocolState::Dccp {
                state: dccp.state,
                role: dccp.role,
                handshake_seq: dccp.handshake_seq,
            },
        }
    }
}

/// Names of label bits, as in ``/etc/xtables/connlabel.conf``.
#[pyclass(frozen, eq, module = "ctnetlink", name = "LabelMap")]
#[derive(PartialEq)]
pub(crate) struct LabelMap(ctnetlink::LabelMap);

#[pymethods]
impl LabelMap {
    /// Read the text of a ``connlabel.conf``: one line per label with the bit number and the name.
    ///
    /// A line that is neither that nor a comment is a ``ValueError``.
    #[staticmethod]
    fn parse(text: &str) -> PyResult<LabelMap> {
        ctnetlink::LabelMap::parse(text).map(LabelMap).map_err(raise)
    }

    /// Return the number of the bit with this name; ``None`` if no bit has it.
    fn bit(&self, name: &str) -> Option<u8> {
        self.0.bit(name)
    }

    /// Return the name of a bit; ``None`` if it has none.
    fn name(&self, bit: u8) -> Option<&str> {
        self.0.name(bit)
    }

    /// Return the names of those bits that have one, such as ``flow.labels``.
    fn names(&self, labels: Vec<u8>) -> Vec<&str> {
        self.0.names(labels.into_iter().collect()).collect()
    }
}
