/**
 * TEST ONLY: a self-signed certificate for localhost and 127.0.0.1 with its key, valid until 2126.
 * It protects nothing and nothing trusts it.
 *
 * Made with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500
 * -subj "/CN=AILoad test only" -addext "subjectAltName=DNS:localhost,IP:127.0.0.1"`.
 */
export const testCertificate = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgI24Tay3mIiHNKW7s
4DYb2sEJ1iT+YmPNH7KCFGuoqkChRANCAAS9ofe4rm0JLy4AUWJEqgLcaKXDrG97
TE5axiVJX4oo+PHCnFDfue/XiF1FKmsJwOoiNvNagKSwmDBbmIIy0OrG
-----END PRIVATE KEY-----
`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBqjCCAU+gAwIBAgIUTvu6G+g7XmvNXMfSzfYVsxXYNMUwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQQUlMb2FkIHRlc3Qgb25seTAgFw0yNjExMjIyMjU0NDdaGA8y
MTI2MTAyOTIyNTQ0N1owGzEZMBcGA1UEAwwQQUlMb2FkIHRlc3Qgb25seTBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABL2h97iubQkvLgBRYkSqAtxopcOsb3tMTlrG
JUlfiij48cKcUN+579eIXUUqawnA6iI281qApLCYMFuYgjLQ6sajbzBtMB0GA1Ud
DgQWBBTJH2Fie0BFGZJ/PLw1Syf10RvaVDAfBgNVHSMEGDAWgBTJH2Fie0BFGZJ/
PLw1Syf10RvaVDAPBgNVHRMBAf8EBTADAQH/MBoGA1UdEQQTMBGCCWxvY2FsaG9z
dIcEfwAAATAKBggqhkjOPQQDAgNJADBGAiEA8YbFdddnImdHzVE2iTCWXigQaUjU
hOgvXVqTHYEVv+ICIQDvN1gW9Dry2hcirCd49+jcM4ACvq6Jm4G0sPbrJa9jcg==
-----END CERTIFICATE-----
`,
}
