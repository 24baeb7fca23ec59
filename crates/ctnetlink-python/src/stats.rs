//! Statistics: `CpuStats`, `ExpectStats`.

use pyo3::prelude::*;

use crate::record::record;

record! {
    [hash] []
    /// Statistics of one CPU in one namespace. Counters that the kernel does not send are ``None``.
    #[derive(Eq, Hash)]
    CpuStats {
        /// Number of the CPU.
        cpu: u16,
        /// NAT lookups that found their tuple already in use.
        found: Option<u32>,
        /// Packets that could not be tracked.
        invalid: Option<u32>,
        /// Entries inserted over netlink or BPF, not by packets.
        insert: Option<u32>,
        /// Insertions that failed because another entry was inserted first.
        insert_failed: Option<u32>,
        /// Packets dropped because no entry could be made.
        drop: Option<u32>,
        /// Entries dropped early to make room.
        early_drop: Option<u32>,
        /// ICMP errors that could not be tracked.
        error: Option<u32>,
        /// Lookups restarted because the table was being resized.
        search_restart: Option<u32>,
        /// Clashes resolved. Linux 5.10.
        clash_resolve: Option<u32>,
        /// Insertions refused because the hash chain was too long. Linux 5.15.
        chain_toolong: Option<u32>,
    }
}

record! {
    [hash] []
    /// Statistics of expectations on one CPU.
    #[derive(Eq, Hash)]
    ExpectStats {
        /// Number of the CPU.
        cpu: u16,
        /// Connections that fulfilled an expectation.
        new: Option<u32>,
        /// Expectations inserted, by helpers and over netlink.
        create: Option<u32>,
        /// Expectations deleted.
        delete: Option<u32>,
    }
}

impl From<ctnetlink::CpuStats> for CpuStats {
    fn from(stats: ctnetlink::CpuStats) -> Self {
        CpuStats {
            cpu: stats.cpu,
            found: stats.found,
            invalid: stats.invalid,
            insert: stats.insert,
            insert_failed: stats.insert_failed,
            drop: stats.drop,
            early_drop: stats.early_drop,
            error: stats.error,
            search_restart: stats.search_restart,
            clash_resolve: stats.clash_resolve,
            chain_toolong: stats.chain_toolong,
        }
    }
}

impl From<&CpuStats> for ctnetlink::CpuStats {
    fn from(stats: &CpuStats) -> Self {
        let mut sample = ctnetlink::CpuStats::default();
        sample.cpu = stats.cpu;
        sample.found = stats.found;
        sample.invalid = stats.invalid;
        sample.insert = stats.insert;
        sample.insert_failed = stats.insert_failed;
        sample.drop = stats.drop;
        sample.early_drop = stats.early_drop;
        sample.error = stats.error;
        sample.search_restart = stats.search_restart;
        sample.clash_resolve = stats.clash_resolve;
        sample.chain_toolong = stats.chain_toolong;
        sample
    }
}

impl From<ctnetlink::ExpectStats> for ExpectStats {
    fn from(stats: ctnetlink::ExpectStats) -> Self {
        let ctnetlink::ExpectStats { cpu, new, create, delete, .. } = stats;
        ExpectStats { cpu, new, create, delete }
    }
}
