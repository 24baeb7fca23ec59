//! From text to typed objects, with errors that name object and field: lists of any depth, typed
//! lists, single objects, and several documents in a row.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::Cluster;
use crate::error::{Error, Result};

/// How deep lists may be nested. No program writes more, and reading it could exhaust the stack.
const MAX_DEPTH: usize = 16;

/// What identifies an object, and the members of a list. The items stay text until their kind is
/// known.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Identity<'a> {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<Metadata>,
    /// `None` if it is absent; `Some(None)` if it is null, which is how Go writes an empty list.
    #[serde(borrow, deserialize_with = "present")]
    items: Option<Option<Vec<&'a RawValue>>>,
}

fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// What identifies an object that is not a list, whose `items` may be anything.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectIdentity {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    /// Texts, but an odd one must not make the whole document unreadable.
    labels: Option<BTreeMap<String, serde_json::Value>>,
    /// Of a list: where the rest of it begins.
    #[serde(rename = "continue")]
    rest: Option<String>,
}

/// What a pod's name is good for: its addresses. The type of Kubernetes has hundreds of fields.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Pod {
    metadata: Metadata,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    host_network: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodStatus {
    #[serde(rename = "podIPs")]
    addresses: Vec<PodAddress>,
}

#[derive(Deserialize)]
struct PodAddress {
    ip: IpAddr,
}

impl Pod {
    fn named(&self) -> Vec<(IpAddr, String)> {
        let (Some(namespace), Some(name), false) =
            (&self.metadata.namespace, &self.metadata.name, self.spec.host_network)
        else {
            return Vec::new();
        };
        let addresses = self.status.addresses.iter();
        addresses.map(|address| (address.ip, format!("{namespace}/{name}"))).collect()
    }
}

/// Why the older form of the endpoints is not read: it is cut at 1,000 addresses, and has no
/// conditions.
const ENDPOINTS: &str = "v1 Endpoints are not read, because they are cut short at 1000 addresses \
    and have no conditions: get endpointslices";

/// Reads one document, or several in a row.
pub(crate) fn parse(json: &[u8]) -> Result<Cluster> {
    // Some editors begin a file with a byte order mark.
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    if json.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::Empty);
    }
    let documents = serde_json::Deserializer::from_slice(json).into_iter::<&RawValue>();
    let documents = documents.collect::<Result<Vec<_>, _>>();
    let documents = documents.map_err(|error| recognised(json).unwrap_or(Error::Json(error)))?;
    let mut cluster = Cluster::default();
    let several = documents.len() > 1;
    for (at, document) in documents.into_iter().enumerate() {
        let place = if several { format!("document {}: ", at + 1) } else { String::new() };
        cluster.read_document(document, &place)?;
    }
    Ok(cluster)
}

/// What a document that is not JSON is, if it is one of the usual mistakes.
fn recognised(bytes: &[u8]) -> Option<Error> {
    let not = |what, remedy: &str| Some(Error::NotJson { what, remedy: remedy.to_owned() });
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || bytes.contains(&0) {
        let remedy = "PowerShell's `>` writes it: use `| Out-File -Encoding utf8`";
        return not("UTF-16 text", remedy);
    }
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let starts = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
    let shown: String = line.chars().take(120).collect();
    if starts(&["Error from server", "error:", "Error:", "Unable to connect", "The connection to"])
    {
        return not("an error message", &format!("it says {shown:?}"));
    }
    if starts(&["No resources found"]) {
        return not("a message", &format!("it says {shown:?}"));
    }
    if starts(&["apiVersion:", "kind:", "items:", "---", "- apiVersion:", "metadata:"]) {
        return not("YAML", "use `-o json` in place of `-o yaml`");
    }
    if starts(&["NAMESPACE ", "NAME "]) {
        return not("a table for people", "add `-o json`");
    }
    None
}

impl Cluster {
    fn read_document(&mut self, document: &RawValue, place: &str) -> Result<()> {
        let not_a_list = |what: String| Error::NotAList { what: format!("{place}{what}") };
        let identity: Identity<'_> =
            serde_json::from_str(document.get()).map_err(|e| not_a_list(e.to_string()))?;
        match identity.kind.as_deref() {
            Some("Service" | "EndpointSlice") => {
                let place = format!("{place}the document");
                return self.read_object(document, typed(document, &place)?, &place, None);
            }
            Some("List" | "ServiceList" | "EndpointSliceList") => {}
            Some(kind @ ("Endpoints" | "EndpointsList")) => {
                return Err(not_a_list(format!("its kind is {kind:?}; {ENDPOINTS}")));
            }
            Some(kind) => return Err(not_a_list(format!("its kind is {kind:?}"))),
            None => return Err(not_a_list("it has no kind".into())),
        }
        self.read_list(identity, place, 0)
    }

    /// Reads a `List` of anything, a `ServiceList` or an `EndpointSliceList`.
    fn read_list(&mut self, list: Identity<'_>, place: &str, depth: usize) -> Result<()> {
        let kind = list.kind.as_deref().unwrap_or_default();
        // What the items of a typed list are, which need not say it themselves.
        let (version, items_are) = match kind {
            "ServiceList" => ("v1", Some(("v1", "Service"))),
            "EndpointSliceList" => {
                (EndpointSlice::API_VERSION, Some((EndpointSlice::API_VERSION, "EndpointSlice")))
            }
            _ => ("v1", None),
        };
        if let Some(other) = list.api_version.as_deref().filter(|other| *other != version) {
            let what = format!("{place}its apiVersion is {other:?}, expected {version:?}");
            return Err(Error::NotAList { what });
        }
        if list.metadata.and_then(|m| m.rest).is_some_and(|rest| !rest.is_empty()) {
            return Err(Error::Partial { list: format!("{place}{kind}") });
        }
        if depth == MAX_DEPTH {
            let what = format!("{place}lists are nested more than {MAX_DEPTH} deep");
            return Err(Error::NotAList { what });
        }
        if list.items.is_none() {
            return Err(Error::NotAList { what: format!("{place}it has no items") });
        }
        for (position, item) in list.items.flatten().into_iter().flatten().enumerate() {
            let place = format!("{place}items[{position}]");
            let identity: ObjectIdentity = typed(item, &place)?;
            let kind = identity.kind.as_deref().or(items_are.map(|(_, kind)| kind));
            match kind {
                Some("List" | "ServiceList" | "EndpointSliceList") => {
                    self.read_list(typed(item, &place)?, &format!("{place}."), depth + 1)?;
                }
                // Another kind that could hold objects.
                Some(kind) if kind.ends_with("List") => {
                    self.notes.push(format!("{kind} at {place}: skipped"));
                }
                // What it holds are rows of text and parts of objects.
                Some("Table") => {
                    let what = format!("{place}: its kind is \"Table\"");
                    return Err(Error::NotAList { what });
                }
                // It could be a Service or a list: the document is damaged.
                None => {
                    let (field, problem) = ("kind".into(), "missing".into());
                    return Err(Error::Object {
                        object: identity.name("object", &place),
                        field,
                        problem,
                    });
                }
                _ => self.read_object(item, identity, &place, items_are)?,
            }
        }
        Ok(())
    }

    /// Reads a Service or an EndpointSlice. Objects of other kinds are ignored.
    fn read_object(
        &mut self,
        item: &RawValue,
        identity: ObjectIdentity,
        place: &str,
        default: Option<(&str, &str)>,
    ) -> Result<()> {
        let kind = identity.kind.as_deref().or(default.map(|(_, kind)| kind));
        match kind {
            Some("Endpoints") => self.endpoints += 1,
            // What cannot be read has no name.
            Some("Pod") => self.pods.extend(typed::<Pod>(item, "Pod").iter().flat_map(Pod::named)),
            _ => {}
        }
        if !matches!(kind, Some("Service" | "EndpointSlice")) {
            return Ok(());
        }
        let name = identity.name(kind.unwrap_or("object"), place);
        let api_version = identity.api_version.as_deref().or(default.map(|(version, _)| version));
        let Some(api_version) = api_version else {
            // Other API groups have kinds with these names too: without a version it could be one.
            let field = "apiVersion".to_owned();
            return Err(Error::Object { object: name, field, problem: "missing".into() });
        };
        match kind {
            Some("Service") if api_version == "v1" => match typed::<Service>(item, &name) {
                Ok(service) => self.services.push(service),
                Err(error) => self.cannot_read(error, &identity, None)?,
            },
            Some("EndpointSlice") if api_version.starts_with("discovery.k8s.io/") => {
                if api_version != EndpointSlice::API_VERSION {
                    let expected = EndpointSlice::API_VERSION;
                    let problem = format!("{api_version:?} is not known, expected {expected:?}");
                    let field = "apiVersion".into();
                    return Err(Error::Object { object: name, field, problem });
                }
                match typed::<EndpointSlice>(item, &name) {
                    Ok(slice) => self.endpoint_slices.push(slice),
                    Err(error) => {
                        let labels = identity.metadata.as_ref().and_then(|m| m.labels.as_ref());
                        let service =
                            labels.and_then(|l| l.get(crate::convert::SERVICE_NAME_LABEL));
                        let service = service.and_then(|name| Some(name.as_str()?.to_owned()));
                        let Some(service) = service else { return Err(error) };
                        self.cannot_read(error, &identity, Some(service))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An object that cannot be read does not stop the others, but its Service is not judged. It is
    /// an error only if the object does not say which Service it belongs to.
    fn cannot_read(
        &mut self,
        error: Error,
        identity: &ObjectIdentity,
        service: Option<String>,
    ) -> Result<()> {
        let metadata = identity.metadata.as_ref();
        let namespace = metadata.and_then(|m| m.namespace.clone()).filter(|n| !n.is_empty());
        let of_slice = service.is_some();
        let name = service.or_else(|| metadata.and_then(|m| m.name.clone()));
        let (Some(namespace), Some(name)) = (namespace, name.filter(|n| !n.is_empty())) else {
            return Err(error);
        };
        self.notes.push(crate::convert::unknown_note(&error, &namespace, &name));
        match of_slice {
            true => self.unreadable_slices.insert((namespace, name)),
            false => self.unreadable.insert((namespace, name)),
        };
        Ok(())
    }
}

fn typed<'a, T: Deserialize<'a>>(item: &'a RawValue, object: &str) -> Result<T> {
    let mut text = serde_json::Deserializer::from_str(item.get());
    serde_path_to_error::deserialize(&mut text).map_err(|e| {
        let field = match e.path().to_string() {
            root if root == "." => "the object itself".to_owned(),
            path => path,
        };
        // Line and column are counted from the start of the object, which would mislead.
        let problem = e.inner().to_string();
        let problem = problem.split(" at line ").next().unwrap_or_default().to_owned();
        Error::Object { object: object.to_owned(), field, problem }
    })
}

impl ObjectIdentity {
    fn name(&self, kind: &str, place: &str) -> String {
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
    use std::collections::BTreeSet;

    use super::*;

    fn problem(json: &str) -> String {
        parse(json.as_bytes()).unwrap_err().to_string()
    }

    fn list(items: &str) -> String {
        format!(r#"{{"apiVersion":"v1","kind":"List","items":[{items}]}}"#)
    }

    #[test]
    fn pods_give_names() {
        let pod = |name, rest| {
            format!(
                r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"namespace":"shop","name":"{name}"}},{rest}}}"#
            )
        };
        let items = [
            pod("web", r#""status":{"podIPs":[{"ip":"10.244.1.5"},{"ip":"fd00::5"}]}"#),
            pod("node", r#""spec":{"hostNetwork":true},"status":{"podIPs":[{"ip":"192.0.2.5"}]}"#),
            pod("odd", r#""status":{"podIPs":[{"ip":"nowhere"}]}"#),
            pod("pending", r#""status":{"phase":"Pending"}"#),
        ];
        let cluster = parse(list(&items.join(",")).as_bytes()).unwrap();
        let named = |ip: &str| (ip.parse().unwrap(), "shop/web".to_owned());
        assert_eq!(cluster.pods, [named("10.244.1.5"), named("fd00::5")]);
    }

    #[test]
    fn documents_that_are_no_list() {
        for (json, expected) in [
            ("", "the document is empty"),
            (" \n", "the document is empty"),
            ("{", "not valid JSON: EOF while parsing"),
            (r#"{"kind":"List","items":[{"#, "not valid JSON: EOF while parsing"),
            ("apiVersion: v1", "the document is YAML, and not JSON; use `-o json`"),
            ("---\nkind: List", "the document is YAML"),
            ("\n\nNAMESPACE   NAME\ndefault   kubernetes", "a table for people"),
            ("Error from server (Forbidden): no", "it says \"Error from server (Forbidden): no\""),
            ("error: You must be logged in", "the document is an error message"),
            ("No resources found\n", "it says \"No resources found\""),
            ("{\0\"\0k\0", "the document is UTF-16 text"),
            ("services", "not valid JSON: expected value at line 1"),
            (r#"{"kind":"Endpoints"}"#, "get endpointslices"),
            (r#"{"kind":"EndpointsList","items":[]}"#, "get endpointslices"),
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
    fn utf_16_of_either_order_is_named() {
        for mark in [b"\xff\xfe", b"\xfe\xff"] {
            let error = parse(&[mark, &b"{\0}\0"[..]].concat()).unwrap_err().to_string();
            assert!(error.contains("UTF-16") && error.contains("Out-File"), "{error}");
        }
    }

    #[test]
    fn malformed_objects_are_named_with_their_field() {
        for (json, expected) in [
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
            (
                list(r#"{"kind":"Pod","metadata":[]},{"metadata":7}"#),
                "items[1]: metadata: invalid type",
            ),
            (list(r#"{"kind":"ServiceList"}"#), "items[0].it has no items"),
            // They could be what a healthy entry belongs to.
            (list(r#"{"metadata":{"name":"x"},"spec":{}}"#), "object x: kind: missing"),
            (list(r#"{"items":[]}"#), "object at items[0]: kind: missing"),
            (list(r#"{"kind":"Table","rows":[]}"#), "items[0]: its kind is \"Table\""),
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

    /// One malformed object of one tenant does not stop a node: a note names object and field, and
    /// its Service is not judged.
    #[test]
    fn one_odd_object_is_noted_and_its_service_unknown() {
        let meta = r#""metadata":{"namespace":"kube-system","name":"kube-dns"}"#;
        let slice_meta = r#""metadata":{"namespace":"kube-system","name":"kube-dns-x",
            "labels":{"kubernetes.io/service-name":"kube-dns"}}"#;
        for (odd, expected) in [
            (
                format!(
                    r#"{{"apiVersion":"v1","kind":"Service",{meta},
                    "spec":{{"ports":[{{"port":53}},{{"port":"domain"}}]}}}}"#
                ),
                "Service kube-system/kube-dns: spec.ports[1].port: invalid type: string \
                 \"domain\", expected i32",
            ),
            (
                format!(
                    r#"{{"apiVersion":"v1","kind":"Service",{meta},
                    "spec":{{"clusterIPs":"10.96.0.10"}}}}"#
                ),
                "Service kube-system/kube-dns: spec.clusterIPs: invalid type",
            ),
            (
                format!(
                    r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",{slice_meta},
                    "endpoints":7}}"#
                ),
                "EndpointSlice kube-system/kube-dns-x: endpoints: invalid type: integer `7`",
            ),
        ] {
            let cluster = parse(list(&odd).as_bytes()).unwrap();
            let [note] = &cluster.notes[..] else { panic!("{:?}", cluster.notes) };
            assert!(note.starts_with(expected), "{note}");
            assert!(note.ends_with("Service kube-system/kube-dns is not judged"), "{note}");
            let unknown = BTreeSet::from([("kube-system".to_owned(), "kube-dns".to_owned())]);
            let of_slice = expected.starts_with("EndpointSlice");
            let nothing = BTreeSet::new();
            let (services, slices) =
                if of_slice { (&nothing, &unknown) } else { (&unknown, &nothing) };
            assert_eq!((&cluster.unreadable, &cluster.unreadable_slices), (services, slices));
        }
    }

    /// A list in a list, a typed list, a single object and several documents hold objects, too.
    #[test]
    fn objects_are_found_wherever_they_can_be() {
        let service = r#"{"apiVersion":"v1","kind":"Service"}"#;
        let slice = r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice"}"#;
        let services = r#"{"apiVersion":"v1","kind":"ServiceList","items":[{"spec":{}}]}"#;
        let slices = r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSliceList",
            "metadata":{"continue":""},"items":[{"addressType":"IPv4","endpoints":[]}]}"#;
        for (document, expected) in [
            (service.to_owned(), (1, 0)),
            (services.to_owned(), (1, 0)),
            (slices.to_owned(), (0, 1)),
            (format!("{services}\n{slices}"), (1, 1)),
            (format!("{service} {service}{slice}"), (2, 1)),
            (list(&format!("{services},{slices},{service}")), (2, 1)),
            (list(&list(&list(&format!("{service},{slice}")))), (1, 1)),
        ] {
            let cluster = parse(document.as_bytes()).unwrap();
            let found = (cluster.services.len(), cluster.endpoint_slices.len());
            assert_eq!(found, expected, "{document}");
        }
        let pods = list(r#"{"kind":"PodList","apiVersion":"v1","items":[{}]}"#);
        assert_eq!(parse(pods.as_bytes()).unwrap().notes, ["PodList at items[0]: skipped"]);
        let deep = (0..20).fold(String::from(service), |inner, _| list(&inner));
        assert!(problem(&deep).contains("nested more than 16 deep"));
    }

    /// The first page of a list is incomplete input.
    #[test]
    fn a_list_that_goes_on_elsewhere_is_refused() {
        let page =
            r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{"continue":"eyJ2"},"items":[]}"#;
        for document in [page.to_owned(), list(page), format!("{page}{page}")] {
            assert!(problem(&document).contains("is only a part of the list"), "{document}");
        }
    }
}
