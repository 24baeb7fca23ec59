//! Columns of a table of flows, in Arrow's memory format, filled from the receive buffer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow_array::builder::{
    ArrayBuilder, FixedSizeBinaryBuilder, ListBuilder, PrimitiveBuilder, StringViewBuilder,
    TimestampNanosecondBuilder, UInt8Builder,
};
use arrow_array::types::{Int16Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use ctnetlink::{FlowRef, Protocol, ProtocolState, SctpState, TcpState};

/// Rows of a batch: 4.9 MiB of memory; four times as many need 17.7 MiB and are no faster.
pub(crate) const ROWS: usize = 16_384;

/// How addresses are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// As people read them.
    Text,
    /// 16 bytes in network order; IPv4 as IPv4-mapped IPv6 (`::ffff:10.0.0.1`).
    Binary,
}

/// What a column has, and where it comes from.
#[derive(Clone, Copy)]
enum Kind {
    Family,
    Protocol,
    State,
    Labels,
    Address(fn(&FlowRef<'_>) -> IpAddr),
    U8(fn(&FlowRef<'_>) -> Option<u8>),
    U16(fn(&FlowRef<'_>) -> Option<u16>),
    U32(fn(&FlowRef<'_>) -> Option<u32>),
    U64(fn(&FlowRef<'_>) -> Option<u64>),
    Time(fn(&FlowRef<'_>) -> Option<SystemTime>),
    Text(for<'a> fn(&'a FlowRef<'_>) -> Option<Cow<'a, str>>),
}

/// Every column, in the order in which they are by default. The second field says whether it is there
/// by default.
const COLUMNS: [(&str, bool, Kind); 33] = [
    ("family", true, Kind::Family),
    ("protocol", true, Kind::Protocol),
    ("orig_src", true, Kind::Address(|flow| flow.orig().src())),
    ("orig_dst", true, Kind::Address(|flow| flow.orig().dst())),
    ("orig_src_port", true, Kind::U16(|flow| flow.orig().src_port())),
    ("orig_dst_port", true, Kind::U16(|flow| flow.orig().dst_port())),
    ("reply_src", true, Kind::Address(|flow| flow.reply().src())),
    ("reply_dst", true, Kind::Address(|flow| flow.reply().dst())),
    ("reply_src_port", true, Kind::U16(|flow| flow.reply().src_port())),
    ("reply_dst_port", true, Kind::U16(|flow| flow.reply().dst_port())),
    ("state", true, Kind::State),
    ("status", true, Kind::U32(|flow| Some(flow.status().bits()))),
    ("timeout", true, Kind::U32(seconds_left)),
    ("mark", true, Kind::U32(|flow| flow.mark())),
    ("zone", true, Kind::U16(|flow| Some(flow.zone()))),
    ("orig_packets", true, Kind::U64(|flow| Some(flow.counters_orig()?.packets))),
    ("orig_bytes", true, Kind::U64(|flow| Some(flow.counters_orig()?.bytes))),
    ("reply_packets", true, Kind::U64(|flow| Some(flow.counters_reply()?.packets))),
    ("reply_bytes", true, Kind::U64(|flow| Some(flow.counters_reply()?.bytes))),
    ("start", true, Kind::Time(|flow| flow.timestamps()?.start)),
    ("id", true, Kind::U32(|flow| flow.id())),
    ("protocol_number", false, Kind::U8(|flow| Some(flow.protocol().0))),
    ("icmp_type", false, Kind::U8(|flow| Some(flow.orig().icmp()?.kind))),
    ("icmp_code", false, Kind::U8(|flow| Some(flow.orig().icmp()?.code))),
    ("icmp_id", false, Kind::U16(|flow| Some(flow.orig().icmp()?.id))),
    ("orig_zone", false, Kind::U16(|flow| flow.orig().zone())),
    ("reply_zone", false, Kind::U16(|flow| flow.reply().zone())),
    ("labels", false, Kind::Labels),
    ("helper", false, Kind::Text(|flow| flow.helper())),
    ("security_context", false, Kind::Text(|flow| flow.security_context())),
    ("use_count", false, Kind::U32(|flow| flow.use_count())),
    ("stop", false, Kind::Time(|flow| flow.timestamps()?.stop)),
    ("event_time", false, Kind::Time(|flow| flow.event_time())),
];

fn seconds_left(flow: &FlowRef<'_>) -> Option<u32> {
    flow.timeout().and_then(|left| u32::try_from(left.as_secs()).ok())
}

/// The names of all columns.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().map(|(name, ..)| *name)
}

/// Texts that repeat, and are sent as numbers: the same in every batch.
struct Dictionary {
    texts: ArrayRef,
    by_text: HashMap<String, i16>,
}

impl Dictionary {
    fn of(texts: impl IntoIterator<Item = String>) -> Dictionary {
        let mut by_text = HashMap::new();
        let mut all = Vec::new();
        for text in texts {
            let next = i16::try_from(all.len()).unwrap_or(i16::MAX);
            by_text.entry(text).or_insert_with_key(|text| {
                all.push(text.clone());
                next
            });
        }
        Dictionary { texts: Arc::new(StringArray::from(all)), by_text }
    }

    fn keys(&self, texts: impl IntoIterator<Item = String>) -> Vec<i16> {
        texts.into_iter().map(|text| self.by_text.get(&text).copied().unwrap_or_default()).collect()
    }
}

static FAMILIES: LazyLock<Dictionary> =
    LazyLock::new(|| Dictionary::of(ctnetlink::Family::ALL.map(|family| family.to_string())));

/// The key of a protocol is its number.
static PROTOCOLS: LazyLock<Dictionary> =
    LazyLock::new(|| Dictionary::of((0..=u8::MAX).map(|number| Protocol(number).to_string())));

/// All states, and the keys of TCP's and of SCTP's by number. DCCP's are numbers.
static STATES: LazyLock<(Dictionary, [Vec<i16>; 3])> = LazyLock::new(|| {
    let tcp = || (0..=u8::MAX).map(|number| TcpState::from(number).to_string());
    let sctp = || (0..=u8::MAX).map(|number| SctpState::from(number).to_string());
    let dccp = || (0..=u8::MAX).map(|number| number.to_string());
    let all = Dictionary::of(tcp().chain(sctp()).chain(dccp()));
    let keys = [all.keys(tcp()), all.keys(sctp()), all.keys(dccp())];
    (all, keys)
});

fn state(flow: &FlowRef<'_>) -> Option<i16> {
    let [tcp, sctp, dccp] = &STATES.1;
    let (keys, number) = match flow.protocol_state()? {
        ProtocolState::Tcp { state, .. } => (tcp, state?.number()),
        ProtocolState::Sctp { state, .. } => (sctp, state?.number()),
        ProtocolState::Dccp { state, .. } => (dccp, state?),
        _ => return None,
    };
    keys.get(usize::from(number)).copied()
}

/// Which columns, and how.
#[derive(Clone)]
pub(crate) struct Columns {
    kinds: Vec<(&'static str, Kind)>,
    addresses: Addresses,
    schema: SchemaRef,
}

impl Columns {
    /// Columns by name; those of the default if none are named. The error is the first name that no column has.
    pub(crate) fn named(
        wanted: Option<Vec<String>>,
        addresses: Addresses,
    ) -> Result<Columns, String> {
        let kinds: Vec<_> = match wanted {
            None => COLUMNS.iter().filter(|(_, default, _)| *default).collect(),
            Some(wanted) => wanted
                .into_iter()
                .map(|name| COLUMNS.iter().find(|(known, ..)| *known == name).ok_or(name))
                .collect::<Result<_, _>>()?,
        };
        let kinds: Vec<_> = kinds.into_iter().map(|(name, _, kind)| (*name, *kind)).collect();
        let fields = kinds.iter().map(|(name, kind)| field(name, *kind, addresses));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Columns { kinds, addresses, schema })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Room for the rows of a batch.
    pub(crate) fn builders(&self) -> Builders {
        let columns = self.kinds.iter().map(|(_, kind)| Column::of(*kind, self.addresses));
        Builders { columns: columns.collect(), rows: 0, schema: self.schema() }
    }
}

fn field(name: &str, kind: Kind, addresses: Addresses) -> Field {
    let (data_type, nullable) = match kind {
        Kind::Family | Kind::Protocol => (dictionary(), false),
        Kind::State => (dictionary(), true),
        Kind::Labels => (DataType::List(Arc::new(Field::new("item", DataType::UInt8, true))), true),
        Kind::Address(_) if addresses == Addresses::Text => (DataType::Utf8View, false),
        Kind::Address(_) => (DataType::FixedSizeBinary(16), false),
        Kind::U8(_) => (DataType::UInt8, true),
        Kind::U16(_) => (DataType::UInt16, true),
        Kind::U32(_) => (DataType::UInt32, true),
        Kind::U64(_) => (DataType::UInt64, true),
        Kind::Time(_) => (DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), true),
        Kind::Text(_) => (DataType::Utf8View, true),
    };
    Field::new(name, data_type, nullable)
}

fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8))
}

/// A batch that is being filled.
pub(crate) struct Builders {
    columns: Vec<Column>,
    rows: usize,
    schema: SchemaRef,
}

impl Builders {
    pub(crate) fn push(&mut self, flow: &FlowRef<'_>) {
        self.rows += 1;
        for column in &mut self.columns {
            column.push(flow);
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn finish(self) -> Result<RecordBatch, ArrowError> {
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        let arrays = self.columns.into_iter().map(Column::finish).collect::<Result<_, _>>()?;
        RecordBatch::try_new_with_options(self.schema, arrays, &options)
    }
}

type Optional<T> = for<'a, 'b> fn(&'a FlowRef<'b>) -> Option<T>;

/// A column that is being filled.
enum Column {
    Key(&'static Dictionary, Optional<i16>, PrimitiveBuilder<Int16Type>),
    Labels(ListBuilder<UInt8Builder>),
    AddressText(fn(&FlowRef<'_>) -> IpAddr, StringViewBuilder),
    AddressBinary(fn(&FlowRef<'_>) -> IpAddr, FixedSizeBinaryBuilder),
    U8(Optional<u8>, PrimitiveBuilder<UInt8Type>),
    U16(Optional<u16>, PrimitiveBuilder<UInt16Type>),
    U32(Optional<u32>, PrimitiveBuilder<UInt32Type>),
    U64(Optional<u64>, PrimitiveBuilder<UInt64Type>),
    Time(Optional<SystemTime>, TimestampNanosecondBuilder),
    Text(for<'a> fn(&'a FlowRef<'_>) -> Option<Cow<'a, str>>, StringViewBuilder),
}

impl Column {
    fn of(kind: Kind, addresses: Addresses) -> Column {
        let keys = || PrimitiveBuilder::with_capacity(ROWS);
        match kind {
            Kind::Family => Column::Key(&FAMILIES, |flow| Some(flow.family() as i16), keys()),
            Kind::Protocol => Column::Key(&PROTOCOLS, |f| Some(f.protocol().0.into()), keys()),
            Kind::State => Column::Key(&STATES.0, state, keys()),
            Kind::Labels => Column::Labels(ListBuilder::new(UInt8Builder::new())),
            Kind::Address(read) if addresses == Addresses::Text => {
                Column::AddressText(read, StringViewBuilder::with_capacity(ROWS))
            }
            Kind::Address(read) => {
                Column::AddressBinary(read, FixedSizeBinaryBuilder::with_capacity(ROWS, 16))
            }
            Kind::U8(read) => Column::U8(read, PrimitiveBuilder::with_capacity(ROWS)),
            Kind::U16(read) => Column::U16(read, PrimitiveBuilder::with_capacity(ROWS)),
            Kind::U32(read) => Column::U32(read, PrimitiveBuilder::with_capacity(ROWS)),
            Kind::U64(read) => Column::U64(read, PrimitiveBuilder::with_capacity(ROWS)),
            Kind::Time(read) => {
                let builder = TimestampNanosecondBuilder::with_capacity(ROWS);
                Column::Time(read, builder.with_timezone("UTC"))
            }
            Kind::Text(read) => Column::Text(read, StringViewBuilder::new()),
        }
    }

    #[inline]
    fn push(&mut self, flow: &FlowRef<'_>) {
        match self {
            Column::Key(_, read, builder) => builder.append_option(read(flow)),
            Column::Labels(builder) => match flow.labels() {
                Some(labels) => builder.append_value(labels.iter().map(Some)),
                None => builder.append_null(),
            },
            Column::AddressText(read, builder) => match read(flow) {
                IpAddr::V4(address) => builder.append_value(Ipv4Text::of(address).text()),
                IpAddr::V6(address) => builder.append_value(address.to_string()),
            },
            Column::AddressBinary(read, builder) => {
                let bytes = match read(flow) {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                // The length is that of the column.
                let _ = builder.append_value(bytes);
            }
            Column::U8(read, builder) => builder.append_option(read(flow)),
            Column::U16(read, builder) => builder.append_option(read(flow)),
            Column::U32(read, builder) => builder.append_option(read(flow)),
            Column::U64(read, builder) => builder.append_option(read(flow)),
            Column::Time(read, builder) => builder.append_option(read(flow).and_then(|time| {
                i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
            })),
            Column::Text(read, builder) => builder.append_option(read(flow)),
        }
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Column::Key(dictionary, _, mut keys) => {
                let texts = Arc::clone(&dictionary.texts);
                Arc::new(DictionaryArray::try_new(keys.finish(), texts)?)
            }
            Column::Labels(mut builder) => Arc::new(builder.finish()),
            Column::AddressText(_, mut builder) | Column::Text(_, mut builder) => {
                ArrayBuilder::finish(&mut builder)
            }
            Column::AddressBinary(_, mut builder) => Arc::new(builder.finish()),
            Column::U8(_, mut builder) => Arc::new(builder.finish()),
            Column::U16(_, mut builder) => Arc::new(builder.finish()),
            Column::U32(_, mut builder) => Arc::new(builder.finish()),
            Column::U64(_, mut builder) => Arc::new(builder.finish()),
            Column::Time(_, mut builder) => Arc::new(builder.finish()),
        })
    }
}

/// The text of an IPv4 address, made without the machinery of formatting, which costs several times as
/// much.
struct Ipv4Text {
    bytes: [u8; 15],
    length: usize,
}

impl Ipv4Text {
    #[inline]
    fn of(address: Ipv4Addr) -> Ipv4Text {
        let mut text = Ipv4Text { bytes: [0; 15], length: 0 };
        for (at, octet) in address.octets().into_iter().enumerate() {
            if at > 0 {
                text.push(b'.');
            }
            if octet >= 100 {
                text.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                text.push(b'0' + octet / 10 % 10);
            }
            text.push(b'0' + octet % 10);
        }
        text
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    #[inline]
    fn text(&self) -> &str {
        // Digits and dots are always UTF-8.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}
