/** All that can be said of one step of a plan. */
import { listModels } from "#api";
import { useResource } from "../api/resource";
import type { StepType, ToolInfo } from "../api/types";
import { Chip, Field } from "../components/basics";
import { asSchema } from "../components/schema-form";
import { duration } from "../format";
import { checkWords, conditionWords } from "../state/condition";
import { usesOf, waitsFor, type EditedStep } from "../state/plan-steps";
import { JsonField, Problems, wrong, type StepForm } from "./plan-fields";
import { AttemptGroup, CheckGroup, ConditionGroup, listChip, ListGroup, retryWords } from "./plan-parts";
import { stepWords } from "./task/steps";

const kinds: StepType[] = ["llm-reasoning", "tool-call", "checkpoint", "summarization"];

/** What is shown of a step while it is closed, has fields of its own, or is left alone. */
const KNOWN = ["id", "description", "type", "tool", "estimatedDuration", "optional", "retry", "model", "forEach", "when", "checks"];

const modelName = (model: unknown) => (typeof model === "string" ? model : typeof model === "object" && model !== null && "provider" in model && "model" in model ? `${String(model.provider)}/${String(model.model)}` : "");

/** What is set of a step, in few words each, with all of them where there are more. */
export function chipsOf(list: readonly EditedStep[], one: EditedStep): { words: string; title?: string }[] {
  const { step } = one;
  const needs = waitsFor(list, one);
  const chips: { words: string; title?: string }[] = [];
  if (needs.length > 0) chips.push({ words: `after ${needs.map((on) => on + 1).join(", ")}` });
  if (step.tool) chips.push({ words: step.tool.name, title: JSON.stringify(step.tool.arguments, null, 2) });
  if (step.optional) chips.push({ words: "optional" });
  if (step.forEach) chips.push({ words: listChip(step.forEach.items) });
  if (step.when) chips.push({ words: `only if ${conditionWords(step.when)}`, title: conditionWords(step.when) });
  if (step.checks?.length) chips.push({ words: `checked by ${step.checks.map((check) => checkWords(check).name).join(", ")}`, title: step.checks.map((check) => `${checkWords(check).name} ${checkWords(check).detail}`).join("\n") });
  if (step.model) chips.push({ words: `by ${modelName(step.model) || "a model"}` });
  if (step.retry) chips.push({ words: retryWords(step.retry) });
  if (step.estimatedDuration) chips.push({ words: `about ${duration(step.estimatedDuration)}` });
  for (const name of Object.keys(step).filter((key) => !KNOWN.includes(key))) chips.push({ words: name, title: "Kept as it is" });
  return chips;
}

/** What a tool takes, in a line. */
function takes(tool: ToolInfo | undefined): string {
  const schema = asSchema(tool?.schema);
  const names = Object.keys(schema.properties ?? {});
  return names.length === 0 ? "" : `Takes ${names.map((name) => (schema.required?.includes(name) ? name : `${name} (optional)`)).join(", ")}. `;
}

export function StepDetails({ form, tools, rename, wait }: { form: StepForm; tools: ToolInfo[]; rename: (id: string) => void; wait: (other: string, on: boolean) => void }) {
  const { one, place, list, put } = form;
  const { step } = one;
  const models = useResource(listModels()).data;
  const model = modelName(step.model);
  const needs = waitsFor(list, one);
  const uses = usesOf(step);
  const kind = (type: StepType) => put(type === "tool-call" ? { type } : { type, tool: undefined });
  const name = (tool: string) => put(tool === "" ? { tool: undefined } : { tool: { ...step.tool, name: tool, arguments: step.tool?.arguments ?? {} } });
  const names = new Set([...(step.tool ? [step.tool.name] : []), ...tools.map((tool) => tool.name)]);
  return (
    <div class="plan-step-more">
      <div class="plan-pairs">
        <div class="field-group" data-field="type"><Field label="Kind"><select value={step.type} {...wrong(form, "type")} onChange={(event) => kind(event.currentTarget.value as StepType)}>{kinds.map((type) => <option key={type} value={type}>{stepWords[type]}</option>)}{!kinds.includes(step.type) && <option value={step.type}>{step.type}</option>}</select></Field><Problems form={form} path="type" /></div>
        {(step.type === "tool-call" || step.tool) && <div class="field-group" data-field="tool"><Field label="Tool"><select value={step.tool?.name ?? ""} {...wrong(form, "tool")} onChange={(event) => name(event.currentTarget.value)}><option value="">a model chooses</option>{[...names].map((tool) => <option key={tool} value={tool}>{tool}</option>)}</select></Field></div>}
        <div class="field-group" data-field="model"><Field label="Model" hint={models && models.forSteps.length === 0 && !model ? "The configuration lets steps name none (models.allowed)" : undefined}><select value={model} {...wrong(form, "model")} onChange={(event) => put({ model: event.currentTarget.value || undefined })}><option value="">that of the task</option>{[...new Set([...(model ? [model] : []), ...(models?.forSteps ?? [])])].map((other) => <option key={other}>{other}</option>)}</select></Field><Problems form={form} path="model" /></div>
        <div class="field-group" data-field="id"><Field label="Name"><input class="mono" spellcheck={false} value={one.typed.id?.text ?? step.id} title="By this other steps refer to what it brings" {...wrong(form, "id")} onInput={(event) => rename(event.currentTarget.value)} /></Field><Problems form={form} path="id" /></div>
      </div>
      <Problems form={form} path="tool" />
      {step.tool && <JsonField form={form} path="tool.arguments" label="Arguments" value={step.tool.arguments} put={(value) => put({ tool: { ...step.tool, name: step.tool?.name ?? "", arguments: value } }, "tool.arguments")}
        hint={<>{takes(tools.find((tool) => tool.name === step.tool?.name))}{place > 0 && <><code>{`{"$output": "${list[place - 1]?.step.id ?? ""}"}`}</code> stands for what step {place} brings.</>}</>} />}
      {place > 0 && <div class="chips" role="group" aria-label="Needs" data-field="dependsOn"><span class="faint">Starts after</span>{list.slice(0, place).map((other, on) => (
        <Chip key={other.key} on={needs.includes(on)} label={`Step ${on + 1}: ${other.step.description}${uses.includes(other.step.id) ? ", whose output it uses" : ""}`} onClick={() => wait(other.key, !one.after.includes(other.key))}>{on + 1}</Chip>
      ))}</div>}
      <Problems form={form} path="dependsOn" />
      <label class="check" data-field="optional"><input type="checkbox" checked={step.optional ?? false} onChange={(event) => put({ optional: event.currentTarget.checked || undefined })} /> optional <span class="faint">– the goal can be reached without it</span></label>
      <div class="options"><ListGroup form={form} /><ConditionGroup form={form} /><CheckGroup form={form} /><AttemptGroup form={form} /></div>
      <Problems form={form} path="" /><Problems form={form} path="optional" />
    </div>
  );
}
