//! What can be wrong with the input.

/// Shorthand for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with the input, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The document is empty.
    #[error(
        "the document is empty; expected the output of `kubectl get services,endpointslices -A -o \
         json`"
    )]
    Empty,

    /// Something else than JSON, which is recognised.
    #[error(
        "the document is {what}, and not JSON; {remedy}: expected the output of `kubectl get \
         services,endpointslices -A -o json`"
    )]
    NotJson {
        /// What it is.
        what: &'static str,
        /// What to do about it.
        remedy: String,
    },

    /// Not JSON, or cut short.
    #[error("the document is not valid JSON: {0}")]
    Json(serde_json::Error),

    /// JSON, but not a `v1` `List`.
    #[error(
        "the document is not a v1 List ({what}); expected the output of `kubectl get \
         services,endpointslices -A -o json`"
    )]
    NotAList {
        /// What it is instead.
        what: String,
    },

    /// An object has a value that cannot be used.
    #[error("{object}: {field}: {problem}")]
    Object {
        /// Kind, namespace and name, or the position in the list.
        object: String,
        /// Path of the field, such as `spec.ports[0].port`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A list says that it goes on elsewhere (`metadata.continue`).
    #[error(
        "{list}: the document is only a part of the list (metadata.continue is set); get all of it \
         with `kubectl get services,endpointslices -A -o json`"
    )]
    Partial {
        /// Which list.
        list: String,
    },

    /// Not one Service: every cluster has default/kubernetes, so half of the input is missing.
    #[error(
        "not one Service in the document ({slices} EndpointSlices): every frontend would count as \
         removed, and every cluster has default/kubernetes; get both with `kubectl get \
         services,endpointslices -A -o json`, or allow it with no_services_ok"
    )]
    NoServices {
        /// How many EndpointSlices there are.
        slices: usize,
    },

    /// There are EndpointSlices of Services that have to be in the document and are not.
    #[error(
        "{slices} EndpointSlices in the document, but not {missing}: Services are missing; get \
         both with `kubectl get services,endpointslices -A -o json`, or allow it with \
         no_services_ok"
    )]
    LostServices {
        /// How many EndpointSlices there are.
        slices: usize,
        /// What is missing.
        missing: &'static str,
    },

    /// Usable services, and no EndpointSlice at all: half of the input is missing.
    #[error(
        "{services} usable service port(s) but not one EndpointSlice in the document: every entry \
         would count as stale{}; get both with `kubectl get services,endpointslices -A -o json`, or \
         allow it with no_endpoints_ok",
        if *endpoints > 0 { " (v1 Endpoints are not read)" } else { "" }
    )]
    NoEndpointSlices {
        /// How many usable service ports there are.
        services: usize,
        /// How many v1 Endpoints there are, which are not read.
        endpoints: usize,
    },

    /// The core refused the state.
    #[error(transparent)]
    State(#[from] ctnetlink::Error),
}
