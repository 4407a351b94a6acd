// OpenAI's own Node client, unmodified. Reads OPENAI_BASE_URL, OPENAI_API_KEY and MODEL.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import OpenAI from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { z } from 'zod'

const client = new OpenAI()
const model = process.env.MODEL
const messages = [{ role: 'user', content: 'Name a colour.' }]
const one = { smc: { preset: 'base' } }

test('models are listed and found', async () => {
  const names = []
  for await (const each of client.models.list()) names.push(each.id)
  assert.ok(names.includes(model) && names.includes(`${model}:best-of-n`))
  assert.equal((await client.models.retrieve(`${model}:smc`)).object, 'model')
})

test('a chat with no configuration at all', async () => {
  const reply = await client.chat.completions.create({ model, messages })
  assert.equal(reply.choices[0].message.role, 'assistant')
  assert.ok(reply.usage.completion_tokens > 0)
  assert.equal(reply.smc.preset, 'smc')
})

test('several choices, log-probabilities and fields of our own', async () => {
  const reply = await client.chat.completions.create({
    model, messages, n: 2, max_tokens: 6, logprobs: true, top_logprobs: 2, seed: 1,
    smc: { preset: 'smc-reward', n_particles: 2, reward: { name: 'regex', params: { pattern: '[a-z]+' } } },
  })
  assert.equal(reply.choices.length, 2)
  assert.equal(reply.choices[0].logprobs.content[0].top_logprobs.length, 2)
  assert.equal(typeof reply.choices[0].reward, 'number')
})

for (const preset of ['base', 'smc-reward', 'smc']) {
  test(`a stream adds up to the whole answer: ${preset}`, async () => {
    const body = { model, messages, max_tokens: 12, seed: 4, smc: { preset, n_particles: preset === 'base' ? 1 : 4 } }
    const whole = await client.chat.completions.create(body)
    let text = ''
    let usage = null
    const stream = await client.chat.completions.create({
      ...body, stream: true, stream_options: { include_usage: true },
    })
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? ''
      usage = chunk.usage ?? usage
    }
    assert.equal(text, whole.choices[0].message.content)
    assert.equal(usage.total_tokens, whole.usage.total_tokens)
  })
}

test('the stream helper puts the message together', async () => {
  const stream = client.chat.completions.stream({ model, messages, max_tokens: 8, ...one })
  const parts = []
  stream.on('content', (delta) => parts.push(delta))
  const final = await stream.finalChatCompletion()
  assert.equal(parts.join(''), final.choices[0].message.content)
})

test('legacy completions: whole, streamed, echoed and scored', async () => {
  const body = { model, prompt: 'One two three', max_tokens: 5, temperature: 0 }
  const whole = await client.completions.create(body)
  let text = ''
  for await (const chunk of await client.completions.create({ ...body, stream: true })) text += chunk.choices[0].text
  assert.equal(text, whole.choices[0].text)
  const scored = await client.completions.create({ ...body, max_tokens: 0, echo: true, logprobs: 1 })
  assert.equal(scored.choices[0].text, 'One two three')
  assert.ok(scored.choices[0].logprobs.token_logprobs.slice(1).every((each) => each <= 0))
})

test('a structured output is parsed by the helper of the client', async () => {
  const Person = z.object({ name: z.string(), age: z.number().int() })
  const reply = await client.chat.completions.parse({
    model, messages: [{ role: 'user', content: 'Ann is 7. Answer as JSON.' }], max_tokens: 120, seed: 2, ...one,
    response_format: zodResponseFormat(Person, 'person'),
  })
  const { name, age } = reply.choices[0].message.parsed
  assert.equal(typeof name, 'string')
  assert.ok(Number.isInteger(age))
})

test('errors are the typed ones', async () => {
  const ask = (fields) => client.chat.completions.create({ model, messages, ...fields })
  await assert.rejects(ask({ temperature: 3 }), (error) =>
    error instanceof OpenAI.BadRequestError && error.param === 'temperature' && Boolean(error.requestID))
  await assert.rejects(ask({ model: 'gpt-9' }), (error) =>
    error instanceof OpenAI.NotFoundError && error.code === 'model_not_found')
  await assert.rejects(ask({ smc: { n_particle: 1 } }), (error) => error.param === 'smc.n_particle')
  await assert.rejects(new OpenAI({ apiKey: 'wrong' }).models.list(), OpenAI.AuthenticationError)
})

test('a stream that is left ends', async () => {
  const stream = await client.chat.completions.create({ model, messages, max_tokens: 400, stream: true, ...one })
  for await (const chunk of stream) if (chunk.choices[0]?.delta?.content !== undefined) break
  assert.ok(stream.controller.signal.aborted)
})
