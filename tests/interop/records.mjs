// Records and gossip messages, read and written by a second implementation that follows docs/protocol.md.
// Needs nothing but Node. espeer/records.py and espeer/p2p/wire.py are the first.
import { isUtf8 } from 'node:buffer'
import { createHash, createPublicKey, verify } from 'node:crypto'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAX_RECORD = 8 * 1024
const MAX_TEXT = 4 * 1024
const MAX_SOURCES = 96
const MAX_FRAME_ITEMS = 256
const MAX_MESSAGE = 64 * 1024
const MAX_MESSAGE_RECORDS = 64
const MAX_CLOCK_SKEW_MS = 10 * 60 * 1000
const KEYS = ['author', 'created', 'kind', 'method', 'model', 'sources', 'text', 'type', 'version']
const METHODS = ['distilled', 'retried', 'extractive', 'condensed']
const FORBIDDEN = new RegExp('[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u200b\\u2028-\\u202e\\u2060-\\u2064' +
  '\\u2066-\\u2069\\u3164\\ud800-\\udfff\\ufeff\\ufffe\\uffff\\u{e0000}-\\u{e007f}]', 'u')
const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex') // RFC 8410: what goes before the 32 bytes of a key
// RFC 8032 leaves open what becomes of points of small order, which sign anything; these are all, without the sign bit
const SMALL_ORDER = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'
])

export class Refused extends Error {}

function need (holds, rule) {
  if (!holds) throw new Refused(rule)
}

// -- msgpack: the part of it that records use, every value in its shortest form

function head (size, short, [one, two]) { // short: [first byte, most] of the form that holds the size itself
  if (size <= short[1]) return Buffer.from([short[0] | size])
  if (one !== null && size < 2 ** 8) return Buffer.from([one, size])
  need(size < 2 ** 16, 'too long')
  return Buffer.from([two, size >> 8, size & 255])
}

export function pack (value) {
  if (typeof value === 'number') {
    if (value < 2 ** 7) return Buffer.from([value])
    const bits = [8, 16, 32, 64].find(bits => value < 2 ** bits)
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(BigInt(value))
    return Buffer.concat([Buffer.from([0xcc + Math.log2(bits / 8)]), bytes.subarray(8 - bits / 8)])
  }
  if (typeof value === 'string') {
    const bytes = Buffer.from(value, 'utf8')
    return Buffer.concat([head(bytes.length, [0xa0, 31], [0xd9, 0xda]), bytes])
  }
  if (value instanceof Uint8Array) return Buffer.concat([head(value.length, [0xc4, -1], [0xc4, 0xc5]), value])
  if (Array.isArray(value)) return Buffer.concat([head(value.length, [0x90, 15], [null, 0xdc]), ...value.map(pack)])
  return Buffer.concat([head(value.size, [0x80, 15], [null, 0xde]), ...[...value].flat().map(pack)]) // a Map
}

// of a record or a gossip message, or of a frame, in which arrays hold arrays
export function unpack (data, isFrame = false) {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength) // it may be any other kind of Uint8Array
  const most = isFrame ? MAX_FRAME_ITEMS : MAX_SOURCES
  const item = isFrame ? list : flat
  let at = 0
  const take = size => {
    need(at + size <= bytes.length, 'ends too early')
    at += size
    return bytes.subarray(at - size, at)
  }
  const size = count => take(count).reduce((value, byte) => value * 256 + byte, 0)
  const many = (count, each) => Array.from({ length: count }, each)
  const string = count => {
    const bytes = take(count)
    need(isUtf8(bytes), 'not UTF-8')
    return bytes.toString('utf8')
  }
  function value () { // a map of arrays is the deepest there is
    if (at < bytes.length && bytes[at] >= 0x80 && bytes[at] < 0x90) return new Map(many(size(1) & 15, () => [flat(), list()]))
    return list()
  }
  function list () {
    const first = size(1)
    if (first >= 0x90 && first < 0xa0) return many(first & 15, item)
    if (first === 0xdc) return many(Math.min(size(2), most + 1), item)
    at -= 1
    return flat()
  }
  function flat () {
    const first = size(1)
    if (first < 0x80) return first
    if (first >= 0xa0 && first < 0xc0) return string(first & 31)
    if (first === 0xc4 || first === 0xc5) return take(size(first - 0xc3))
    if (first === 0xd9 || first === 0xda) return string(size(first - 0xd8))
    if (first >= 0xcc && first <= 0xcf) return size(2 ** (first - 0xcc))
    throw new Refused('nothing that a record holds')
  }
  const whole = value()
  need(at === bytes.length, 'has something behind it')
  return whole
}

// -- records: {kind, type, text, created, author, model, method, sources}; the target of a retraction is its only source

export const idOf = body => createHash('sha256').update(body).digest()

export function bodyOf (record) {
  return pack(new Map(KEYS.map(key => [key, key === 'version' ? 1 : record[key]])))
}

// sign: gives the 64-byte Ed25519 signature of the 32-byte id, by the key whose public half is record.author
export async function encode (record, sign) {
  const body = bodyOf(record)
  return pack([body, Buffer.from(await sign(idOf(body)))])
}

export function decode (bytes, now = Date.now()) {
  need(bytes.length <= MAX_RECORD, 'record is too large')
  const parts = unpack(bytes)
  need(Array.isArray(parts) && parts.length === 2 && parts.every(part => part instanceof Uint8Array), 'not [body, signature]')
  const [body, signature] = parts
  const fields = unpack(body)
  need(fields instanceof Map && [...fields.keys()].join() === KEYS.join(), 'not the nine fields in order')
  const record = { ...Object.fromEntries(fields), id: idOf(body), signature }
  check(record)
  need(bodyOf(record).equals(body) && pack(parts).equals(bytes), 'not in canonical form')
  need(isSigned(record), 'not signed by its author')
  need(record.created <= now + MAX_CLOCK_SKEW_MS, 'from the future')
  return record
}

function isSigned ({ author, id, signature }) {
  if (signature.length !== 64 || !isSound(author) || !isSound(signature.subarray(0, 32))) return false
  const key = createPublicKey({ key: Buffer.concat([SPKI_ED25519, author]), format: 'der', type: 'spki' })
  return verify(null, id, key, signature)
}

function isSound (point) {
  const y = Buffer.from(point)
  y[31] &= 0x7f
  const isOverP = y[0] >= 0xed && y[31] === 0x7f && y.subarray(1, 31).every(byte => byte === 0xff) // p = 2**255 - 19
  return !isOverP && !SMALL_ORDER.has(y.toString('hex'))
}

function check ({ author, created, kind, method, model, sources, text, type, version }) {
  const isId = value => value instanceof Uint8Array && value.length === 32
  need(version === 1, 'of another version')
  need(typeof type === 'string' && /^[a-z0-9-]{1,32}$/.test(type), 'type')
  need(typeof created === 'number' && created < 2 ** 48, 'created')
  need(isId(author), 'author')
  need(Array.isArray(sources) && sources.every(isId), 'sources')
  if (kind === 'retraction') {
    need(sources.length === 1 && text === '' && model === '' && method === '', 'a retraction names one id, and nothing else')
    return
  }
  need(kind === 'experience', 'kind')
  need(typeof text === 'string' && Buffer.byteLength(text) <= MAX_TEXT && text.trim() !== '' && !FORBIDDEN.test(text), 'text')
  need(typeof model === 'string' && /^[A-Za-z0-9._:+-]{1,64}$/.test(model), 'model')
  need(METHODS.includes(method), 'method')
  need(sources.length <= MAX_SOURCES, 'sources')
}

// -- gossip messages: an array of encoded records, all of the topic's type

export const encodeMessage = encoded => pack(encoded)

export function decodeMessage (bytes, type, now = Date.now()) {
  need(bytes.length <= MAX_MESSAGE, 'message is too large')
  const encoded = unpack(bytes)
  need(Array.isArray(encoded) && encoded.length > 0 && encoded.length <= MAX_MESSAGE_RECORDS, 'not 1 to 64 records')
  need(encoded.every(item => item instanceof Uint8Array), 'not byte strings')
  need(encodeMessage(encoded).equals(bytes), 'not in canonical form')
  const records = encoded.map(item => decode(item, now))
  need(records.every(record => record.type === type), 'records of another type')
  return records
}

// node records.mjs NOW [TYPE]: judges one hexadecimal record a line, or with a type, one gossip message of it
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [now, type] = process.argv.slice(2)
  const judge = bytes => type === undefined ? [decode(bytes, Number(now))] : decodeMessage(bytes, type, Number(now))
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      console.log(judge(Buffer.from(line, 'hex')).map(record => record.id.toString('hex')).join())
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      console.log(`refused: ${error.message}`)
    }
  }
}
