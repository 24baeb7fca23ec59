//! A plan as text for people.

use std::fmt;

use super::Expression;
use super::plan::{self, DumpPlan, Required, Split};
use crate::model::capability::Trusts;

/// What the kernel is asked to filter by, what stays in user space, and why. Made by
/// [`Filter::explain`](super::Filter::explain); `Display` is for people.
///
/// ```no_run
/// # fn f(ct: &ctnetlink::Conntrack) -> ctnetlink::Result<()> {
/// let filter: ctnetlink::Filter = "udp and not reply src 10.244.1.5".parse()?;
/// let explanation = filter.explain(&ct.capabilities()?)?;
/// for stayed in &explanation.stayed {
///     println!("{} is matched in user space: {}", stayed.criterion, stayed.reason);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The filter.
    pub filter: String,
    /// Why the filter can match nothing at all ([`Filter::never_matches`]).
    ///
    /// [`Filter::never_matches`]: crate::Filter::never_matches
    pub never: Option<String>,
    /// What the kernel filters by in each pass over the table, in the words of the filter. Empty if
    /// it filters nothing.
    pub passes: Vec<String>,
    /// What is matched only in user space, and why the kernel is not asked.
    pub stayed: Vec<Stayed>,
    /// Why [`in_kernel`](crate::DeleteMatching::in_kernel) would refuse it; `None` if it would not.
    pub not_in_kernel: Option<String>,
    /// How many flushes `in_kernel` would send: one for each affected family.
    pub flushes: usize,
}

/// A part of a filter that the kernel is not asked for, in an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stayed {
    /// The part, in the words of the filter.
    pub criterion: String,
    /// Why the kernel is not asked.
    pub reason: String,
}

impl Stayed {
    fn new(criterion: &impl fmt::Display, reason: impl Into<String>) -> Stayed {
        Stayed { criterion: criterion.to_string(), reason: reason.into() }
    }
}

const PASSES: &str = "a pass for each family would cost more than it saves";

impl Explanation {
    pub(super) fn of(expression: &Expression, trusts: &Trusts) -> Explanation {
        let plan = DumpPlan::of(expression, trusts);
        let normal = plan::normal(expression, false);
        let mut required = Required::default();
        required.collect(&normal);

        let mut stayed = Vec::new();
        let reasons = plan::reasons(&required.criteria, trusts);
        for (at, (criterion, why)) in required.criteria.iter().zip(reasons).enumerate() {
            if plan.split == Some(Split::Set(at)) || plan.says(criterion, trusts) {
                continue;
            }
            let why = why.map_or_else(|| PASSES.to_owned(), |why| why.to_string());
            stayed.push(Stayed::new(criterion, why));
        }
        for (at, alternatives) in required.any.iter().enumerate() {
            let text = Expression::Any(alternatives.to_vec()).to_string();
            if plan.split != Some(Split::Or(at)) {
                let why = "the kernel cannot express alternatives, and a pass for each would cost \
                           more than it saves";
                stayed.push(Stayed::new(&text, why));
            } else if !alternatives.iter().all(plan::never_changes_alone) {
                let why =
                    "passes differ only in what never changes; the rest is matched in user space";
                stayed.push(Stayed::new(&text, why));
            }
        }
        for negation in &required.not {
            stayed.push(Stayed::new(negation, "the kernel has no filter for negations"));
        }
        let flushes = plan::flush(expression, trusts);
        Explanation {
            filter: expression.to_string(),
            never: plan::never(expression),
            passes: plan.passes.iter().map(ToString::to_string).collect(),
            stayed,
            flushes: flushes.as_ref().map_or(0, Vec::len),
            not_in_kernel: flushes.err(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "filter     {}", self.filter)?;
        if let Some(why) = &self.never {
            writeln!(f, "never      it matches nothing: {why}")?;
        }
        for (at, pass) in self.passes.iter().enumerate() {
            let pass = if pass.is_empty() { "everything" } else { pass };
            match self.passes.len() {
                1 => writeln!(f, "kernel     sends {pass}")?,
                _ => writeln!(f, "kernel     pass {} sends {pass}", at + 1)?,
            }
        }
        for Stayed { criterion, reason } in &self.stayed {
            writeln!(f, "here only  {criterion}: {reason}")?;
        }
        writeln!(f, "here       every entry that comes is matched against the whole filter")?;
        match &self.not_in_kernel {
            None if self.flushes == 1 => write!(f, "in_kernel  possible, in one filtered flush"),
            None => write!(f, "in_kernel  possible, in a filtered flush for each family"),
            Some(why) => write!(f, "in_kernel  no: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Explanation, Stayed};
    use crate::filter::Filter;
    use crate::model::capability::{KernelCriterion as K, Trust, Trusts};

    fn explain(text: &str, trusts: &Trusts) -> Explanation {
        Explanation::of(text.parse::<Filter>().unwrap().expression().unwrap(), trusts)
    }

    #[test]
    fn every_reason_is_said() {
        let mut trusts = Trusts::UNTESTED;
        trusts.set(K::OrigIpv6, Trust::Wrong, Trust::Wrong);
        trusts.set(K::Mark, Trust::Refused(libc::EOPNOTSUPP), Trust::Distrusted);
        for (text, passes, stayed) in [
            ("ip and udp", 1, ""),
            (
                "ip6 and orig dst 2001:db8::10",
                1,
                "this kernel selects the wrong entries by original IPv6",
            ),
            ("ip and mark 1", 1, "this kernel refuses mark: Operation not supported"),
            ("ip and reply src 10.0.0.1", 1, "reply IPv4 address was not tried out on this kernel"),
            ("ip and orig dst 10.0.0.0/8", 1, "the kernel has no filter for prefixes"),
            ("ip and orig dst port 53", 1, "the kernel compares it only together with tcp or udp"),
            ("ip and udp and tcp", 1, "another criterion requires another value of the same field"),
            ("ip and not udp", 1, "the kernel has no filter for negations"),
            ("ip and (mark 1 or mark 2)", 1, "the kernel cannot express alternatives"),
            ("label 5", 1, "the kernel has no filter for labels"),
            ("tcp", 1, "a pass for each family would cost more than it saves"),
            ("udp", 2, ""),
            ("ip and (udp or tcp) and orig dst port 53", 2, ""),
            (
                "ip and (orig dst 10.0.0.1 and mark 1 or orig dst 10.0.0.2)",
                2,
                "passes differ only in what never changes; the rest is matched in user space",
            ),
            ("ip and orig dst in {10.0.0.1, 10.0.0.2}", 2, ""),
        ] {
            let explanation = explain(text, &trusts);
            assert_eq!(explanation.passes.len(), passes, "{explanation}");
            assert_eq!(explanation.stayed.is_empty(), stayed.is_empty(), "{explanation}");
            assert!(explanation.to_string().contains(stayed), "{explanation}");
            assert!(explanation.not_in_kernel.is_some(), "{explanation}");
        }
    }

    #[test]
    fn the_true_reason_and_no_other() {
        let mut trusts = Trusts::UNTESTED;
        trusts.set(K::Protocol, Trust::Wrong, Trust::Wrong);
        let stayed = explain("udp", &trusts).stayed;
        let why = "this kernel selects the wrong entries by protocol";
        assert_eq!(stayed, [Stayed::new(&"udp", why)]);
    }

    #[test]
    fn one_screen() {
        let text = "udp and orig dst port 53 and not reply src in {10.244.1.5, 10.244.2.0/24}";
        assert_eq!(
            explain(text, &Trusts::UNTESTED).to_string(),
            format!(
                "filter     {text}
kernel     pass 1 sends ip and udp and orig dst port 53
kernel     pass 2 sends ip6 and udp and orig dst port 53
here only  not reply src in {{10.244.1.5, 10.244.2.0/24}}: the kernel has no filter for negations
here       every entry that comes is matched against the whole filter
in_kernel  no: not reply src in {{10.244.1.5, 10.244.2.0/24}}: the kernel has no filter for negations"
            )
        );
    }
}
