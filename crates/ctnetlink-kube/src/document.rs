//! From the text of a `v1` `List` to typed objects, with errors that name object and field.

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::Cluster;
use crate::error::{Error, Result};

/// Fields of the `List` itself. The items stay text until their kind is known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    kind: Option<String>,
    api_version: Option<String>,
    /// Absent is `None`; null, which is Go's empty list, `Some(None)`.
    #[serde(borrow, default, deserialize_with = "present")]
    items: Option<Option<Vec<&'a RawValue>>>,
}

fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// What identifies an object.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
}

pub(crate) fn parse(json: &[u8]) -> Result<Cluster> {
    // Some editors begin a file with a byte order mark.
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    if json.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::Empty);
    }
    let list: List<'_> = serde_json::from_slice(json).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => Error::NotAList { what: e.to_string() },
        _ => Error::Json(e),
    })?;
    match list.kind.as_deref() {
        Some("List") => {}
        Some(kind) => return Err(Error::NotAList { what: format!("its kind is {kind:?}") }),
        None => return Err(Error::NotAList { what: "it has no kind".into() }),
    }
    if let Some(version) = list.api_version.filter(|version| version != "v1") {
        return Err(Error::NotAList { what: format!("its apiVersion is {version:?}") });
    }
    let Some(items) = list.items else {
        return Err(Error::NotAList { what: "it has no items".into() });
    };
    let items = items.unwrap_or_default();

    let mut cluster = Cluster::default();
    for (position, item) in items.into_iter().enumerate() {
        let place = format!("items[{position}]");
        let identity: Identity = typed(item, &place)?;
        let kind = identity.kind.as_deref();
        let Some(api_version) = identity.api_version.as_deref() else {
            // Other API groups have kinds of these names, too; left out, it could be either.
            if matches!(kind, Some("Service" | "EndpointSlice")) {
                let (object, field) = (identity.name(&place), "apiVersion".to_owned());
                return Err(Error::Object { object, field, problem: "missing".into() });
            }
            continue;
        };
        match kind {
            Some("Service") if api_version == "v1" => {
                cluster.services.push(typed::<Service>(item, &identity.name(&place))?);
            }
            Some("EndpointSlice") if api_version.starts_with("discovery.k8s.io/") => {
                let object = identity.name(&place);
                if api_version != EndpointSlice::API_VERSION {
                    let expected = EndpointSlice::API_VERSION;
                    let problem = format!("{api_version:?} is not known, expected {expected:?}");
                    return Err(Error::Object { object, field: "apiVersion".into(), problem });
                }
                cluster.endpoint_slices.push(typed::<EndpointSlice>(item, &object)?);
            }
            _ => {}
        }
    }
    Ok(cluster)
}

fn typed<'a, T: Deserialize<'a>>(item: &'a RawValue, object: &str) -> Result<T> {
    let mut text = serde_json::Deserializer::from_str(item.get());
    serde_path_to_error::deserialize(&mut text).map_err(|e| {
        let field = match e.path().to_string() {
            root if root == "." => "the object itself".to_owned(),
            path => path,
        };
        // Line and column count from the start of the object, which helps nobody.
        let problem = e.inner().to_string();
        let problem = problem.split(" at line ").next().unwrap_or_default().to_owned();
        Error::Object { object: object.to_owned(), field, problem }
    })
}

impl Identity {
    fn name(&self, place: &str) -> String {
        let kind = self.kind.as_deref().unwrap_or("object");
        let metadata = self.metadata.as_ref();
        match metadata.and_then(|m| m.name.as_deref()) {
            Some(name) => {
                let namespace = metadata.and_then(|m| m.namespace.as_deref()).unwrap_or_default();
                crate::convert::object_name(kind, namespace, name)
            }
            None => format!("{kind} at {place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> String {
        parse(json.as_bytes()).unwrap_err().to_string()
    }

    fn list(items: &str) -> String {
        format!(r#"{{"apiVersion":"v1","kind":"List","items":[{items}]}}"#)
    }

    #[test]
    fn documents_that_are_no_list() {
        for (json, expected) in [
            ("", "the document is empty"),
            (" \n", "the document is empty"),
            ("{", "not valid JSON: EOF while parsing"),
            (r#"{"kind":"List","items":[{"#, "not valid JSON: EOF while parsing"),
            ("apiVersion: v1", "not valid JSON: expected value at line 1"),
            ("[]", "not a v1 List"),
            ("17", "not a v1 List"),
            (r#"{"kind":"Pod"}"#, "its kind is \"Pod\""),
            ("{}", "it has no kind"),
            (r#"{"kind":"List"}"#, "it has no items"),
            (r#"{"kind":"List","apiVersion":"v2","items":[]}"#, "its apiVersion is \"v2\""),
            (r#"{"kind":"List","items":{}}"#, "invalid type: map, expected a sequence"),
        ] {
            let text = problem(json);
            assert!(text.contains(expected), "{json}: {text}");
        }
    }

    #[test]
    fn malformed_objects_are_named_with_their_field() {
        let service = |spec: &str| {
            let meta = r#""metadata":{"namespace":"kube-system","name":"kube-dns"}"#;
            list(&format!(r#"{{"apiVersion":"v1","kind":"Service",{meta},"spec":{spec}}}"#))
        };
        for (json, expected) in [
            (
                service(r#"{"ports":[{"port":53},{"port":"domain"}]}"#),
                "Service kube-system/kube-dns: spec.ports[1].port: invalid type: string \
                 \"domain\", expected i32",
            ),
            (
                service(r#"{"clusterIPs":"10.96.0.10"}"#),
                "Service kube-system/kube-dns: spec.clusterIPs: invalid type",
            ),
            (
                list(
                    r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","endpoints":7}"#,
                ),
                "EndpointSlice at items[0]: endpoints: invalid type: integer `7`",
            ),
            (
                list(
                    r#"{"apiVersion":"discovery.k8s.io/v1beta1","kind":"EndpointSlice",
                        "metadata":{"name":"x"}}"#,
                ),
                "EndpointSlice x: apiVersion: \"discovery.k8s.io/v1beta1\" is not known",
            ),
            (
                list(r#"{"kind":"Service","metadata":{"name":"x","namespace":"y"}}"#),
                "Service y/x: apiVersion: missing",
            ),
            (list(r#"{"kind":"EndpointSlice"}"#), "EndpointSlice at items[0]: apiVersion: missing"),
            (list("7"), "items[0]: the object itself: invalid type: integer `7`"),
            (list(r#"{"metadata":[]},{"metadata":7}"#), "items[1]: metadata: invalid type"),
        ] {
            let text = problem(&json);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn empty_lists_and_byte_order_marks() {
        for json in [
            r#"{"kind":"List","apiVersion":"v1","items":null}"#,
            r#"{"kind":"List","items":[]}"#,
            "\u{feff}{\"kind\":\"List\",\"items\":[]}",
        ] {
            assert!(parse(json.as_bytes()).unwrap().services.is_empty(), "{json}");
        }
    }

    #[test]
    fn other_kinds_and_unknown_fields_are_fine() {
        let json = list(
            r#"{"apiVersion":"v1","kind":"Pod","spec":{"x":1}},
               {"apiVersion":"serving.knative.dev/v1","kind":"Service","spec":7},
               {"kind":"ConfigMap"},
               {"apiVersion":"v1","kind":"Service","spec":{"tomorrow":true},"later":[]}"#,
        );
        let cluster = parse(json.as_bytes()).unwrap();
        assert_eq!((cluster.services.len(), cluster.endpoint_slices.len()), (1, 0));
    }
}
