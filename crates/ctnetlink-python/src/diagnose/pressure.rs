//! How full a table is: `Pressure`, `Growth`, `Trend`, `Share`, `Thresholds`.

use std::sync::Mutex;

use ctnetlink::diagnose as core;
use pyo3::prelude::*;

use crate::record::record;
use crate::value::{Level, Span, lock};

record! {
    [] []
    /// How fast the table grows, and how sure that is.
    Growth {
        /// Entries a second more (or fewer).
        per_second: f64,
        /// Standard error of that; ``None`` if it is not known how many entries come and go.
        error: Option<f64>,
        /// Whether it is more than chance.
        significant: bool,
    }
}

impl From<core::Growth> for Growth {
    fn from(growth: core::Growth) -> Self {
        let core::Growth { per_second, error, significant, .. } = growth;
        Growth { per_second, error, significant }
    }
}

impl Growth {
    fn core(&self) -> core::Growth {
        core::Growth::new(self.per_second, self.error, self.significant)
    }
}

/// Samples of the count, of the last 300 s, for a growth by least squares.
#[pyclass(frozen, module = "ctnetlink")]
#[derive(Default)]
pub(crate) struct Trend(Mutex<core::Trend>);

#[pymethods]
impl Trend {
    #[new]
    fn new() -> Self {
        Trend::default()
    }

    /// Add a sample: the moment, in seconds of ``time.monotonic()``, and the count.
    fn add(&self, moment: Span, entries: u32) {
        lock(&self.0).add(moment.0, entries);
    }

    /// Return the growth; ``None`` with fewer than two samples.
    ///
    /// ``churn`` is how many entries come and go a second (``Churn.new_per_second()``): without it nothing
    /// is significant.
    #[pyo3(signature = (churn=None))]
    fn growth(&self, churn: Option<f64>) -> Option<Growth> {
        lock(&self.0).growth(churn).map(Growth::from)
    }
}

record! {
    [] [entries, limit=None, buckets=None, evictable=None, growth=None]
    /// How full a namespace's table is.
    Pressure {
        /// Entries of the namespace, as the kernel counts them.
        entries: u32,
        /// How many it may have; 0 if there is no limit, ``None`` if it is not known.
        limit: Option<u32>,
        /// Buckets of the hash table, which all namespaces share.
        buckets: Option<u32>,
        /// Entries without ``ASSURED``. Only those are evicted when the table is full.
        evictable: Option<u64>,
        /// How fast the number grows.
        growth: Option<Growth>,
    }
}

impl From<&core::Pressure> for Pressure {
    fn from(pressure: &core::Pressure) -> Self {
        Pressure {
            entries: pressure.entries,
            limit: pressure.limit,
            buckets: pressure.buckets,
            evictable: pressure.evictable,
            growth: pressure.growth.map(Growth::from),
        }
    }
}

impl Pressure {
    fn core(&self) -> core::Pressure {
        let growth = self.growth.as_ref().map(Growth::core);
        let mut pressure = core::Pressure::new(self.entries, self.limit).growth(growth);
        (pressure.buckets, pressure.evictable) = (self.buckets, self.evictable);
        pressure
    }
}

#[pymethods]
impl Pressure {
    /// Return which part of the limit is used, from 0 to 1; 0 without a limit.
    fn usage(&self) -> f64 {
        self.core().usage()
    }

    /// Return how many more entries fit; ``None`` without a limit.
    fn headroom(&self) -> Option<u32> {
        self.core().headroom()
    }

    /// Return how bad the usage is.
    #[pyo3(signature = (thresholds=None))]
    fn level(&self, thresholds: Option<&Thresholds>) -> Level {
        Level::of(self.core().level(&Thresholds::core_of(thresholds)))
    }

    /// Return in how many seconds the table is full; ``None`` if the growth is not more than chance.
    fn time_to_full(&self) -> Option<f64> {
        self.core().time_to_full().map(|left| left.as_secs_f64())
    }

    /// Return which part of new connections is lost when the table is full, from 0 to 1.
    ///
    /// The kernel searches 8 buckets for an entry without ``ASSURED`` to evict; with U of those and B
    /// buckets it finds none with a probability of exp(-16 U / B). ``None`` if U or B is not known.
    fn loss_when_full(&self) -> Option<f64> {
        self.core().loss_when_full()
    }
}

record! {
    [] []
    /// A part of the table, and the least number of entries that it has to be.
    Share {
        /// From 0 to 1.
        part: f64,
        /// Entries.
        entries: u64,
    }
}

/// The fields of the thresholds, by type.
macro_rules! thresholds {
    ($($(#[$doc:meta])* $field:ident: $kind:ident,)*) => {
        /// From where on something is a finding. The defaults are those of Rust.
        #[pyclass(frozen, eq, get_all, module = "ctnetlink")]
        #[derive(Clone, PartialEq)]
        pub(crate) struct Thresholds { $($(#[$doc])* pub(crate) $field: $kind,)* }

        #[pymethods]
        impl Thresholds {
            #[new]
            #[pyo3(signature = (*, $($field=None),*))]
            #[allow(clippy::too_many_arguments, reason = "they are the fields")]
            fn new($($field: Option<$kind>),*) -> Self {
                let defaults = core::Thresholds::default();
                Thresholds { $($field: $field.unwrap_or(thresholds!(@from $kind, defaults.$field)),)* }
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                crate::record::show(slf.as_any(), &[$(stringify!($field)),*])
            }

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<crate::record::Reduced<'py>> {
                let options = pyo3::types::PyDict::new(slf.py());
                $(options.set_item(stringify!($field), slf.getattr(stringify!($field))?)?;)*
                crate::record::Made::of(options).reduce_by(slf.get_type().as_any())
            }
        }

        impl Thresholds {
            pub(crate) fn core_of(given: Option<&Thresholds>) -> core::Thresholds {
                let mut thresholds = core::Thresholds::default();
                if let Some(given) = given {
                    $(thresholds.$field = thresholds!(@to $kind, given.$field);)*
                }
                thresholds
            }
        }
    };
    (@from f64, $value:expr) => { $value };
    (@from u64, $value:expr) => { $value };
    (@to u64, $value:expr) => { $value };
    (@from Share, $value:expr) => { Share { part: $value.part, entries: $value.entries } };
    (@to f64, $value:expr) => { $value };
    (@to Share, $value:expr) => { core::Share::new($value.part, $value.entries) };
}

thresholds! {
    /// Usage that is a warning, from 0 to 1: 0.75, as in node-mixin.
    usage_warning: f64,
    /// Usage that is critical: 0.90, as in netdata.
    usage_critical: f64,
    /// Part of new connections lost when the table is full.
    loss_when_full: f64,
    /// Mean chain length that is critical.
    chain_critical: f64,
    /// Mean chain length of a full table that is a warning.
    chain_when_full: f64,
    /// ``TIME_WAIT`` entries.
    time_wait: Share,
    /// DNS entries.
    dns: Share,
    /// Connections without an answer to their SYN, or to the SYN-ACK.
    syn: Share,
    /// Other entries without an answer.
    unreplied: Share,
    /// Established connections.
    established: Share,
    /// Connections in ``CLOSE_WAIT``.
    close_wait: Share,
    /// Entries of one frontend, backend or source.
    one: Share,
    /// Entries that a dump does not show.
    hidden: Share,
    /// Part of the table that is stale.
    stale_critical: f64,
    /// Part of the limit on expectations.
    expectations: f64,
    /// Entries of one destination after NAT that use up the source ports.
    source_ports: u64,
    /// Sources of unanswered SYNs that are a flood.
    flood_sources: u64,
}

#[pymethods]
impl Thresholds {
    /// Raise a ``ValueError`` that names the first one that makes no sense.
    fn check(&self) -> PyResult<()> {
        Thresholds::core_of(Some(self)).check().map_err(crate::error::raise)
    }
}

crate::record::copies!(Thresholds);
