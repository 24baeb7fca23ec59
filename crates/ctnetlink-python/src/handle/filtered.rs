//! Operations on the entries that match a filter, and reconciliation.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::Conntrack;
use crate::call::{self, Callback, Teller};
use crate::deletion::{DeleteReport, Zeroed};
use crate::desired::DesiredState;
use crate::dump::Dump;
use crate::error::raise;
use crate::filter::{self, AnyFilter};
use crate::flow::Flow;
use crate::options::Options;
use crate::reconciler::Reconciler;
use crate::report::Report;
use crate::table::Table;
use crate::value::{Profile, Protocol, Raised, Span};

/// A callback that gets a flow.
fn with_flow<'a>(callback: Option<&'a Bound<'_, PyAny>>) -> Option<Callback<'a, ctnetlink::Flow>> {
    callback.map(|callback| -> Callback<'a, _> {
        Box::new(move |_, flow| callback.call1((Flow(flow),)).map(|_| ()))
    })
}

#[pymethods]
impl Conntrack {
    /// Count the entries that match a filter or keywords.
    ///
    /// Without either, return the kernel's own count, which includes expired and dying entries.
    #[pyo3(signature = (filter=None, **criteria), text_signature = "($self, filter=None, *, family=None, protocol=None, orig_src=None, orig_dst=None, \
            reply_src=None, reply_dst=None, orig_src_port=None, orig_dst_port=None, \
            reply_src_port=None, reply_dst_port=None, host=None, icmp_type=None, icmp_code=None, \
            icmp_id=None, status=None, status_unset=None, snat=None, dnat=None, nat=None, \
            unreplied=None, mark=None, zone=None, orig_zone=None, reply_zone=None, label=None, \
            labels=None, helper=None, tcp_state=None, sctp_state=None, timeout=None, age=None, packets=None, \
            orig_packets=None, reply_packets=None, bytes=None, orig_bytes=None, reply_bytes=None)")]
    fn count(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter>,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<u64> {
        match filter::from_call(filter, criteria)? {
            Some(filter) => self.long(py, move |ct| ct.dump(&filter)?.count()),
            None => self.detached(py, |ct| ct.count().map(u64::from)),
        }
    }

    /// Stream the entries that match a filter or keywords; all of them without either.
    ///
    /// A filter is an object or text, such as ``udp and orig dst port 53``; see ``Filter.parse``. The
    /// kernel filters by what it can be trusted with; every entry is matched again here.
    #[pyo3(signature = (filter=None, **criteria), text_signature = "($self, filter=None, *, family=None, protocol=None, orig_src=None, orig_dst=None, \
            reply_src=None, reply_dst=None, orig_src_port=None, orig_dst_port=None, \
            reply_src_port=None, reply_dst_port=None, host=None, icmp_type=None, icmp_code=None, \
            icmp_id=None, status=None, status_unset=None, snat=None, dnat=None, nat=None, \
            unreplied=None, mark=None, zone=None, orig_zone=None, reply_zone=None, label=None, \
            labels=None, helper=None, tcp_state=None, sctp_state=None, timeout=None, age=None, packets=None, \
            orig_packets=None, reply_packets=None, bytes=None, orig_bytes=None, reply_bytes=None)")]
    fn dump(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter>,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Dump> {
        let filter = filter::from_call(filter, criteria)?;
        self.detached(py, |ct| ct.dump(filter.as_ref())).map(Dump::new)
    }

    /// Return the entries that match as columns, for polars, pyarrow, pandas and DuckDB.
    ///
    /// ``columns`` are names of ``Table.COLUMNS``; without them those that most people want. Addresses
    /// are text, or with ``addresses="binary"`` 16 bytes in network order, IPv4 as ``::ffff:10.0.0.1``.
    /// What an entry does not have is null. A missing privilege is a ``PermissionError`` here, and
    /// nothing is dumped until somebody reads the rows.
    #[pyo3(signature = (filter=None, *, columns=None, addresses="text", **criteria), text_signature = "($self, filter=None, *, columns=None, addresses='text', family=None, protocol=None, orig_src=None, orig_dst=None, \
            reply_src=None, reply_dst=None, orig_src_port=None, orig_dst_port=None, \
            reply_src_port=None, reply_dst_port=None, host=None, icmp_type=None, icmp_code=None, \
            icmp_id=None, status=None, status_unset=None, snat=None, dnat=None, nat=None, \
            unreplied=None, mark=None, zone=None, orig_zone=None, reply_zone=None, label=None, \
            labels=None, helper=None, tcp_state=None, sctp_state=None, timeout=None, age=None, packets=None, \
            orig_packets=None, reply_packets=None, bytes=None, orig_bytes=None, reply_bytes=None)")]
    fn dump_table(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter>,
        columns: Option<Vec<String>>,
        addresses: &str,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Table> {
        let filter = filter::from_call(filter, criteria)?;
        let table = Table::new(self.open_handle()?, filter, columns, addresses)?;
        // A consumer would turn a refusal into an error of its own kind.
        self.detached(py, ctnetlink::Conntrack::count)?;
        Ok(table)
    }

    /// Stream the dying list.
    ///
    /// These entries have left the table, but a reliable listener has not received their destroy event
    /// yet.
    fn dying(&self, py: Python<'_>) -> PyResult<Dump> {
        self.detached(py, ctnetlink::Conntrack::dying).map(Dump::new)
    }

    /// Stream the whole table, and zero the counters of what was read.
    ///
    /// If it is ended half-way, the counters of entries that the kernel has zeroed but that were not
    /// read are lost.
    fn dump_and_zero(&self, py: Python<'_>) -> PyResult<Dump> {
        self.detached(py, ctnetlink::Conntrack::dump_and_zero).map(Dump::new)
    }

    /// Delete the entries that match a filter or keywords, or count them with ``dry_run``.
    ///
    /// Which entries match is decided here, as they were in the dump; each match is then deleted by
    /// reply tuple, zone and id. ``on_match`` is called with each of them, in this thread; an exception
    /// in it ends the walk. With ``in_kernel`` the kernel deletes them in one filtered flush for each
    /// affected family and counts nothing: the result is ``None``. This works only if every criterion
    /// was proved on this kernel; otherwise a ``ValueError`` says why not. A call with neither a filter
    /// nor keywords is a ``ValueError`` too.
    #[pyo3(signature = (filter=None, *, dry_run=false, in_kernel=false, on_match=None, **criteria), text_signature = "($self, filter=None, *, dry_run=False, in_kernel=False, on_match=None, family=None, protocol=None, orig_src=None, orig_dst=None, \
            reply_src=None, reply_dst=None, orig_src_port=None, orig_dst_port=None, \
            reply_src_port=None, reply_dst_port=None, host=None, icmp_type=None, icmp_code=None, \
            icmp_id=None, status=None, status_unset=None, snat=None, dnat=None, nat=None, \
            unreplied=None, mark=None, zone=None, orig_zone=None, reply_zone=None, label=None, \
            labels=None, helper=None, tcp_state=None, sctp_state=None, timeout=None, age=None, packets=None, \
            orig_packets=None, reply_packets=None, bytes=None, orig_bytes=None, reply_bytes=None)")]
    fn delete_matching(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter>,
        dry_run: bool,
        in_kernel: bool,
        on_match: Option<&Bound<'_, PyAny>>,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Option<DeleteReport>> {
        let filter = filter::required(filter, criteria)?;
        if in_kernel {
            if dry_run || on_match.is_some() {
                return Err(PyValueError::new_err(
                    "in_kernel cannot be combined with dry_run or on_match: the kernel neither \
                     counts nor shows entries",
                ));
            }
            self.long(py, move |ct| ct.delete_matching(&filter).in_kernel())?;
            return Ok(None);
        }
        let tells = on_match.is_some();
        let operation = move |ct: &ctnetlink::Conntrack, teller: &Teller<_, _>| {
            let deletion = ct.delete_matching(&filter).dry_run(dry_run);
            match tells {
                true => deletion.on_match(|flow| teller.tell(flow.to_owned())).run(),
                false => deletion.run(),
            }
        };
        let handle = self.open_handle()?;
        let report = call::long(py, &handle, with_flow(on_match), operation)?.map_err(raise)?;
        Ok(Some(DeleteReport::of(py, &report)))
    }

    /// Read the entries that match and zero their counters, each in one step.
    ///
    /// ``on_match`` is called with each entry as it was before, in this thread; without it, all of them
    /// are in the result. An exception in it ends the walk.
    #[pyo3(signature = (filter=None, *, on_match=None, **criteria), text_signature = "($self, filter=None, *, on_match=None, family=None, protocol=None, orig_src=None, orig_dst=None, \
            reply_src=None, reply_dst=None, orig_src_port=None, orig_dst_port=None, \
            reply_src_port=None, reply_dst_port=None, host=None, icmp_type=None, icmp_code=None, \
            icmp_id=None, status=None, status_unset=None, snat=None, dnat=None, nat=None, \
            unreplied=None, mark=None, zone=None, orig_zone=None, reply_zone=None, label=None, \
            labels=None, helper=None, tcp_state=None, sctp_state=None, timeout=None, age=None, packets=None, \
            orig_packets=None, reply_packets=None, bytes=None, orig_bytes=None, reply_bytes=None)")]
    fn zero(
        &self,
        py: Python<'_>,
        filter: Option<AnyFilter>,
        on_match: Option<&Bound<'_, PyAny>>,
        criteria: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Zeroed> {
        let filter = filter::required(filter, criteria)?;
        let tells = on_match.is_some();
        let operation = move |ct: &ctnetlink::Conntrack, teller: &Teller<_, _>| {
            let (mut count, mut flows) = (0_u64, Vec::new());
            let result = ct.zero(&filter, |flow| {
                count += 1;
                if tells { teller.tell(flow) } else { flows.push(flow) }
            });
            (count, flows, result.err())
        };
        let handle = self.open_handle()?;
        let (count, flows, error) = call::long(py, &handle, with_flow(on_match), operation)?;
        match error {
            // What was zeroed must not be lost with the error.
            Some(error) if count == 0 => Err(raise(error)),
            error => Ok(Zeroed {
                count,
                flows: flows.into_iter().map(Flow).collect(),
                error: error.map(|error| Raised::of(py, &error)),
            }),
        }
    }

    /// Remove the entries that are stale with respect to a desired state, and only those.
    ///
    /// The options are those of ``Reconciler``, which is for a process that reconciles repeatedly.
    #[pyo3(signature = (
        desired, *, profile=Profile(ctnetlink::Profile::Strict), dry_run=false, protocols=None,
        zones=None, recheck=Some(Options::RECHECK), previous=None, on_progress=None
    ), text_signature = "($self, desired, *, profile='strict', dry_run=False, protocols=None, \
        zones=None, recheck=0.1, previous=None, on_progress=None)")]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn reconcile(
        slf: &Bound<'_, Self>,
        py: Python<'_>,
        desired: &DesiredState,
        profile: Profile,
        dry_run: bool,
        protocols: Option<Vec<Protocol>>,
        zones: Option<Bound<'_, PyAny>>,
        recheck: Option<Span>,
        previous: Option<&DesiredState>,
        on_progress: Option<Py<PyAny>>,
    ) -> PyResult<Report> {
        let authority = "rules";
        let options = Options { profile, dry_run, protocols, zones, authority, recheck, previous };
        Reconciler::with(options.reconciler()?, on_progress).run_on(py, slf.get(), desired)
    }
}
