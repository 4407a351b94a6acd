// OpenAI's Responses API, by OpenAI's own Node client and by the AI SDK's default, `openai(MODEL)`.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateObject, generateText, streamText } from 'ai'
import { createOpenAI } from '@ai-sdk/openai'
import OpenAI from 'openai'
import { zodTextFormat } from 'openai/helpers/zod'
import { z } from 'zod'

const client = new OpenAI()
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL, apiKey: process.env.OPENAI_API_KEY })
const model = process.env.MODEL
const input = 'Name a colour.'
const one = { smc: { preset: 'base' } }
const Person = z.object({ name: z.string(), age: z.number().int() })

test('a response with no configuration at all', async () => {
  const response = await client.responses.create({ model, input })
  assert.ok(response.output_text.length > 0)
  assert.equal(response.smc.preset, 'smc')
})

test('a stream adds up to the whole response', async () => {
  const body = { model, input, max_output_tokens: 12, seed: 4, ...one }
  const whole = await client.responses.create(body)
  let text = ''
  let last = null
  for await (const event of await client.responses.create({ ...body, stream: true })) {
    if (event.type === 'response.output_text.delta') text += event.delta
    last = event
  }
  assert.equal(text, whole.output_text)
  assert.deepEqual(last.response.usage, whole.usage)
})

test('a structured output is parsed by the helper of the client', async () => {
  const response = await client.responses.parse({
    model, input: 'Ann is 7. Answer as JSON.', max_output_tokens: 120, seed: 2, ...one,
    text: { format: zodTextFormat(Person, 'person') },
  })
  assert.equal(typeof response.output_parsed.name, 'string')
})

test('what is stored is refused', async () => {
  await assert.rejects(client.responses.create({ model, input, previous_response_id: 'resp_1' }), (error) =>
    error instanceof OpenAI.BadRequestError && /nothing is stored/.test(error.message))
})

test('the AI SDK: text, streamed text and an object', async () => {
  const brief = { model: openai(model), prompt: input, maxOutputTokens: 8, maxRetries: 0 }
  const { text, usage } = await generateText(brief)
  assert.ok(text.length > 0 && usage.outputTokens <= 8)
  let failure = null
  const result = streamText({ ...brief, onError: ({ error }) => { failure = error } })
  let streamed = ''
  for await (const part of result.textStream) streamed += part
  assert.equal(failure, null)
  assert.ok(streamed.length > 0)
  const { object } = await generateObject({
    model: openai(model), prompt: 'Ann is 7. Answer as JSON.', schema: Person, maxOutputTokens: 120, maxRetries: 0,
  })
  assert.equal(typeof object.name, 'string')
})

test('the AI SDK: a conversation, when it is told that nothing is stored', async () => {
  const providerOptions = { openai: { store: false } }
  const asked = { model: openai(model), maxOutputTokens: 8, maxRetries: 0, providerOptions }
  const messages = [{ role: 'user', content: input }]
  const first = await generateText({ ...asked, messages })
  const more = [...messages, ...first.response.messages, { role: 'user', content: 'Another one.' }]
  assert.ok((await generateText({ ...asked, messages: more })).text.length > 0)
})
