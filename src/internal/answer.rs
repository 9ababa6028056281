//! JSON answers, and the format of errors.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

pub type ApiResponse = Response<Full<Bytes>>;

pub fn object(status: StatusCode, body: &Value) -> ApiResponse {
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub fn error(status: StatusCode, code: &str, message: &str) -> ApiResponse {
    object(status, &json!({"error": {"code": code, "message": message}}))
}

pub fn not_allowed(allowed: &'static str) -> ApiResponse {
    let message = format!("allowed here: {allowed}");
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
