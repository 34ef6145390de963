//! An API server of a test's own, in memory: as much of it as the adapter uses, on paused time as well.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The annotation that can be owned.
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// A call that arrived, with the objects as they were then.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
    /// All objects when it arrived, by path.
    pub(crate) objects: BTreeMap<String, Value>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Versions with what happened: the path, the kind of event and the object.
    history: Vec<(u64, String, &'static str, Value)>,
    calls: Vec<Call>,
    refused: Vec<(Method, String, u16)>,
}

impl State {
    fn refusal(&self, method: &Method, path: &str) -> Option<u16> {
        let refused =
            self.refused.iter().find(|(refused, below, _)| refused == method && path.starts_with(below));
        refused.map(|(_, _, code)| *code)
    }
}

/// The server; clones share its objects.
#[derive(Debug, Clone, Default)]
pub(crate) struct KubeApi {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl KubeApi {
    /// A client of this server.
    pub(crate) fn client(&self) -> Client {
        self.cut_off_by(&Arc::default())
    }

    /// A client whose calls hang while the switch is on.
    pub(crate) fn cut_off_by(&self, cut: &Arc<AtomicBool>) -> Client {
        let (api, cut) = (self.clone(), Arc::clone(cut));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (api, cut) = (api.clone(), Arc::clone(&cut));
            async move {
                if cut.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                Ok::<_, kube::Error>(api.answer(request).await)
            }
        });
        Client::new(service, "ns")
    }

    /// Puts an object there, as another client does.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.store(&mut self.state.lock(), path, object);
    }

    /// Takes one away.
    pub(crate) fn delete(&self, path: &str) {
        let mut state = self.state.lock();
        let gone = state.objects.remove(path).expect("an object to delete");
        self.record(&mut state, path, "DELETED", gone);
    }

    /// An object as it is.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    /// Refuses calls with this method below this path from now on; watches that it refuses end.
    pub(crate) fn refuse(&self, method: Method, path: &str, code: u16) {
        self.state.lock().refused.push((method, path.to_owned(), code));
        self.changed.send_modify(|_| {});
    }

    /// Refuses none any more.
    pub(crate) fn allow_all(&self) {
        self.state.lock().refused.clear();
    }

    /// The calls that were to change something below a path, so far.
    pub(crate) fn writes(&self, path: &str) -> Vec<Call> {
        let state = self.state.lock();
        state
            .calls
            .iter()
            .filter(|call| call.method != Method::GET && call.path.starts_with(path))
            .cloned()
            .collect()
    }

    /// What a role must allow for the calls so far: verb and resource.
    pub(crate) fn rights_used(&self) -> Vec<String> {
        let mut rights: Vec<String> = self.state.lock().calls.iter().map(right).collect();
        rights.sort();
        rights.dedup();
        rights
    }

    /// Waits until the objects satisfy a condition; the caller bounds it.
    pub(crate) async fn until(&self, mut condition: impl FnMut(&BTreeMap<String, Value>) -> bool) {
        let mut changes = self.changed.subscribe();
        while !condition(&self.state.lock().objects) {
            changes.changed().await.expect("the server lives");
        }
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let mut state = self.state.lock();
        let objects = state.objects.clone();
        state.calls.push(Call {
            method: head.method.clone(),
            path: path.clone(),
            query: query.clone(),
            body: body.clone(),
            objects,
        });
        if let Some(code) = state.refusal(&head.method, &path) {
            return failure(code, "Refused");
        }
        let content =
            head.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        match head.method {
            Method::GET if is_collection(&path) => self.read(&state, &path, &query),
            Method::GET => state.objects.get(&path).map_or_else(|| failure(404, "NotFound"), success),
            Method::POST => {
                let name = body["metadata"]["name"].as_str().expect("a name");
                let path = format!("{path}/{name}");
                if state.objects.contains_key(&path) {
                    return failure(409, "AlreadyExists");
                }
                success(&self.store(&mut state, &path, body))
            }
            Method::PUT => match state.objects.get(&path) {
                None => failure(404, "NotFound"),
                Some(old) if old["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] => {
                    failure(409, "Conflict")
                }
                Some(_) => success(&self.store(&mut state, &path, body)),
            },
            Method::PATCH => {
                let Some(old) = state.objects.get(&path).cloned() else { return failure(404, "NotFound") };
                let parameter = |name: &str| {
                    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
                };
                let patched = if content == "application/apply-patch+yaml" {
                    let manager = parameter("fieldManager").expect("server-side apply names its manager");
                    apply(old, &body, &manager, parameter("force").as_deref() == Some("true"))
                } else {
                    assert_eq!(content, "application/merge-patch+json");
                    let mut merged = old;
                    merge(&mut merged, &body);
                    Some(merged)
                };
                patched.map_or_else(
                    || failure(409, "Conflict"),
                    |object| success(&self.store(&mut state, &path, object)),
                )
            }
            _ => failure(405, "MethodNotAllowed"),
        }
    }

    fn store(&self, state: &mut State, path: &str, mut object: Value) -> Value {
        let event = if state.objects.contains_key(path) { "MODIFIED" } else { "ADDED" };
        object["metadata"]["resourceVersion"] = json!((state.version + 1).to_string());
        state.objects.insert(path.to_owned(), object.clone());
        self.record(state, path, event, object.clone());
        object
    }

    fn record(&self, state: &mut State, path: &str, event: &'static str, mut object: Value) {
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.history.push((state.version, path.to_owned(), event, object));
        self.changed.send_replace(state.version);
    }

    /// A list, or a watch of a collection.
    fn read(&self, state: &State, path: &str, query: &str) -> Answer {
        let below = format!("{path}/");
        // Other selectors are the server's business.
        let name = query.split('&').find_map(|pair| pair.strip_prefix("fieldSelector=metadata.name%3D"));
        let below = below + name.unwrap_or_default();
        if !query.contains("watch=true") {
            let items: Vec<&Value> =
                state.objects.iter().filter(|(path, _)| path.starts_with(&below)).map(|(_, o)| o).collect();
            let version = state.version.to_string();
            return success(&json!({"kind": "List", "apiVersion": "v1",
                "metadata": {"resourceVersion": version}, "items": items}));
        }
        let since = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
        let since: u64 = since.and_then(|version| version.parse().ok()).unwrap_or(0);
        let server = self.clone();
        let events = stream::unfold((since, self.changed.subscribe()), move |(since, mut changes)| {
            let (server, below) = (server.clone(), below.clone());
            async move {
                loop {
                    changes.borrow_and_update();
                    if server.state.lock().refusal(&Method::GET, &below).is_some() {
                        return None;
                    }
                    let next = server
                        .state
                        .lock()
                        .history
                        .iter()
                        .find(|(version, path, ..)| *version > since && path.starts_with(&below))
                        .cloned();
                    if let Some((version, _, event, object)) = next {
                        let line = json!({"type": event, "object": object}).to_string() + "\n";
                        return Some((Ok(Frame::data(Bytes::from(line))), (version, changes)));
                    }
                    changes.changed().await.ok()?;
                }
            }
        });
        Response::new(UnsyncBoxBody::new(StreamBody::new(events)))
    }
}

fn is_collection(path: &str) -> bool {
    ["configmaps", "pods", "secrets", "leases", "apiservices"]
        .iter()
        .any(|plural| path.ends_with(&format!("/{plural}")))
}

fn right(call: &Call) -> String {
    let segments: Vec<&str> = call.path.split('/').collect();
    let named = !is_collection(&call.path);
    let resource = segments[segments.len() - if named { 2 } else { 1 }];
    let verb = match call.method.as_str() {
        "GET" if call.query.contains("watch=true") => "watch",
        "GET" if named => "get",
        "GET" => "list",
        "POST" => "create",
        "PUT" => "update",
        other => return format!("{resource} {}", other.to_lowercase()),
    };
    format!("{resource} {verb}")
}

fn success(object: &Value) -> Answer {
    Response::new(UnsyncBoxBody::new(Full::new(Bytes::from(object.to_string()))))
}

fn failure(code: u16, reason: &str) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code});
    let mut answer = success(&status);
    *answer.status_mut() = http::StatusCode::from_u16(code).expect("a status");
    answer
}

/// A JSON merge patch.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return into.clone_from(patch) };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}

/// Server-side apply; ownership is kept of one annotation only. `None` is a conflict.
fn apply(mut object: Value, patch: &Value, manager: &str, force: bool) -> Option<Value> {
    for precondition in ["uid", "resourceVersion"] {
        let wanted = &patch["metadata"][precondition];
        if !wanted.is_null() && *wanted != object["metadata"][precondition] {
            return None;
        }
    }
    let fields = json!({"f:metadata": {"f:annotations": {format!("f:{COST}"): {}}}});
    let mut owners = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let own = |entry: &Value| entry["manager"] == manager && entry["operation"] == "Apply";
    let owned_by_others = owners.iter().any(|entry| !own(entry) && entry["fieldsV1"] == fields);
    let cost = &patch["metadata"]["annotations"][COST];
    let present = object["metadata"]["annotations"][COST].clone();
    if cost.is_null() {
        if owners.iter().any(own) && !owned_by_others && !present.is_null() {
            object["metadata"]["annotations"].as_object_mut().expect("annotations").remove(COST);
        }
        owners.retain(|entry| !own(entry));
    } else {
        if owned_by_others && present != *cost && !force {
            return None;
        }
        owners.retain(|entry| !own(entry));
        owners.push(json!({"manager": manager, "operation": "Apply", "fieldsV1": fields}));
    }
    let mut changes = patch.clone();
    changes["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    merge(&mut object, &changes);
    object["metadata"]["managedFields"] = Value::Array(owners);
    Some(object)
}
