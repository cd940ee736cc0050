import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Config } from '../../config/config.ts'
import { finding, type Finding } from '../../config/problem.ts'
import { systemCodeOf } from '../../errors.ts'

const hint = 'write the path of a PEM file, or the text of the certificates'
const CERTIFICATE =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^]*?-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g

/**
 * Reads the files that `models[].tls.ca` names, as the file of the configuration sees them, and puts their certificates in
 * their place. What can't be read, or holds no certificates, is a finding.
 */
export function withAuthorities(
  config: Config,
  file: string,
): { config: Config; findings: readonly Finding[] } {
  const findings: Finding[] = []
  const models = config.models.map((model, at) => {
    const written = model.trust?.ca
    if (written === undefined) return model
    const path = ['models', at, 'tls', 'ca']
    const text = written.includes('-----BEGIN') ? written : textOf(resolve(dirname(file), written))
    const ca = typeof text === 'string' ? certificatesIn(text) : undefined
    if (ca !== undefined) return { ...model, trust: { ...model.trust, ca } }
    const message = typeof text === 'string' ? 'holds no certificate (PEM)' : text.message
    findings.push(finding(path, message, hint))
    return model
  })
  return { config: { ...config, models }, findings }
}

function textOf(path: string): string | { readonly message: string } {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = systemCodeOf(error) ?? 'an unknown error'
    if (code === 'ENOENT' || code === 'ENOTDIR') return { message: 'names a file that is not there' }
    return { message: `names a file that cannot be read (${code})` }
  }
}

/** The certificates alone, without what stands around them; undefined where there are none, or one is damaged. */
function certificatesIn(text: string): string | undefined {
  try {
    return text
      .match(CERTIFICATE)
      ?.map((certificate) => new X509Certificate(certificate).toString())
      .join('')
  } catch {
    return undefined
  }
}
